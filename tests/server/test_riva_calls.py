"""Riva's gRPC when something is wrong, and the services around it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import riva.client
import trustme
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from riva.client.proto import riva_asr_pb2

import nemotron_asr.server
from nemotron_asr.server.riva_messages import SERVICE
from tests.server.conftest import Running, running
from tests.server.riva_client import config, refusal, service, streaming

Code = grpc.StatusCode
PROTO = Path(nemotron_asr.server.__file__).parent / "proto"
SECOND = bytes(32_000)


def begin(**fields: Any) -> Any:
    return riva_asr_pb2.StreamingRecognizeRequest(streaming_config=streaming(**fields))


def audio(data: bytes = SECOND) -> Any:
    return riva_asr_pb2.StreamingRecognizeRequest(audio_content=data)


@pytest.fixture
def asr(server: Running) -> Iterator[riva.client.ASRService]:
    with service(server) as connected:
        yield connected


@pytest.mark.parametrize(
    ("requests", "code", "words"),
    [
        ([audio()], Code.INVALID_ARGUMENT, "streaming_config"),
        ([begin(), begin()], Code.INVALID_ARGUMENT, "twice"),
        ([begin(), audio(), begin()], Code.INVALID_ARGUMENT, "twice"),
        ([begin(encoding=7)], Code.INVALID_ARGUMENT, "encoding 7"),
        ([begin(language_code="tlh")], Code.INVALID_ARGUMENT, "tlh"),
        ([begin(model="medium-int8")], Code.NOT_FOUND, "medium-int8"),
        ([begin(custom_configuration={"latency_ms": "81"})], Code.INVALID_ARGUMENT, "81"),
        ([begin(), audio(b"RIFF\0\0\0\0WAVE" + bytes(100_000))], Code.INVALID_ARGUMENT, "WAV"),
        ([begin(encoding=2), audio(b"no flac at all" * 1000)], Code.INVALID_ARGUMENT, ""),
        ([begin(), audio(bytes(2 << 20))], Code.RESOURCE_EXHAUSTED, "limit"),
    ],
)
def test_streams_that_are_refused(asr: Any, requests: list[Any], code: grpc.StatusCode, words: str) -> None:
    refused, details = refusal(asr.stub.StreamingRecognize(iter(requests)))
    assert refused == code
    assert words in details


@pytest.mark.parametrize(
    ("fields", "data", "code", "words"),
    [
        ({"language_code": "tlh"}, SECOND, Code.INVALID_ARGUMENT, "tlh"),
        ({"model": "medium-int8"}, SECOND, Code.NOT_FOUND, "medium-int8"),
        ({"profanity_filter": True}, SECOND, Code.INVALID_ARGUMENT, "filter"),
        ({"encoding": 2}, b"no flac at all" * 1000, Code.INVALID_ARGUMENT, ""),
    ],
)
def test_recordings_that_are_refused(
    asr: Any, fields: dict[str, Any], data: bytes, code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        asr.offline_recognize(data, config(**fields))
    assert error.value.code() == code
    assert words in str(error.value.details())


def test_bytes_that_are_no_messages(asr: Any, server: Running) -> None:
    channel, garbage = asr.auth.channel, b"\xff\xff garbage"
    stream = channel.stream_stream(f"/{SERVICE}/StreamingRecognize")
    assert refusal(stream(iter([garbage])))[0] == Code.INVALID_ARGUMENT
    assert refusal(stream(iter([begin().SerializeToString(), garbage])))[0] == Code.INVALID_ARGUMENT
    for method in ("Recognize", "GetRivaSpeechRecognitionConfig"):
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(f"/{SERVICE}/{method}")(garbage)
        assert error.value.code() == Code.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(f"/{SERVICE}/Sing")(b"")
    assert error.value.code() == Code.UNIMPLEMENTED
    assert list(stream(iter([]))) == []
    assert not server.service.conversations


def test_names_that_clients_are_set_up_for(asr: Any) -> None:
    for name in ("", "tiny", "parakeet-1.1b-en-US-asr-streaming-silero-vad-sortformer"):
        assert len(asr.offline_recognize(SECOND, config(model=name)).results) == 0


def test_models(asr: Any) -> None:
    models = asr.stub.GetRivaSpeechRecognitionConfig(riva_asr_pb2.RivaSpeechRecognitionConfigRequest()).model_config
    assert [(model.model_name, model.parameters["type"]) for model in models] == [
        ("tiny", "online"),
        ("tiny", "offline"),
    ]
    assert "de-DE" in models[0].parameters["language_code"].split(",")
    theirs = riva_asr_pb2.RivaSpeechRecognitionConfigRequest(model_name="parakeet-1.1b-en-US-asr-streaming")
    assert asr.stub.GetRivaSpeechRecognitionConfig(theirs).model_config[0].model_name == "tiny"
    with pytest.raises(grpc.RpcError) as error:
        asr.stub.GetRivaSpeechRecognitionConfig(riva_asr_pb2.RivaSpeechRecognitionConfigRequest(model_name="big"))
    assert error.value.code() == Code.NOT_FOUND


def test_health(asr: Any) -> None:
    check = asr.auth.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", SERVICE):
        wait(partial(is_serving, check, health_pb2.HealthCheckRequest(service=name)))


def test_health_of_a_server_that_is_about_to_stop(random_model_folder: Path) -> None:
    with running(model=[str(random_model_folder)]) as stopping, service(stopping) as connected:
        check = connected.auth.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        call = connected.stub.StreamingRecognize(slowly(begin()))
        wait(lambda: stopping.service.conversations)
        wait(partial(is_serving, check, health_pb2.HealthCheckRequest()))
        stopping.stop()
        wait(lambda: not is_serving(check, health_pb2.HealthCheckRequest(service=SERVICE)))
        assert list(call) is not None  # it is let finish


def is_serving(check: Any, request: Any) -> bool:
    return bool(check(request).status == health_pb2.HealthCheckResponse.SERVING)


def wait(done: Any) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reflection(asr: Any) -> None:
    database = ProtoReflectionDescriptorDatabase(asr.auth.channel)
    assert SERVICE in database.get_services()
    methods = DescriptorPool(database).FindServiceByName(SERVICE).methods_by_name
    assert set(methods) == {"Recognize", "StreamingRecognize", "GetRivaSpeechRecognitionConfig"}


def described(files: bytes) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(files).file}


def test_messages_are_what_protoc_makes_of_the_files(tmp_path: Path) -> None:
    out = tmp_path / "riva.binpb"
    command = ["-m", "grpc_tools.protoc", "-I", ".", "--include_imports", f"--descriptor_set_out={out}"]
    subprocess.run([sys.executable, "-W", "ignore", *command, "riva/proto/riva_asr.proto"], cwd=PROTO, check=True)
    assert described(out.read_bytes()) == described((PROTO / "riva.binpb").read_bytes())


def test_messages_are_those_of_the_client() -> None:
    for name, file in described((PROTO / "riva.binpb").read_bytes()).items():
        theirs = descriptor_pb2.FileDescriptorProto()
        riva_asr_pb2.DESCRIPTOR.pool.FindFileByName(name).CopyToProto(theirs)
        assert fields(file) == fields(theirs)


def fields(file: descriptor_pb2.FileDescriptorProto) -> set[tuple[object, ...]]:
    """Every field of every message, and every value of every enumeration."""
    found: set[tuple[object, ...]] = {
        (enum.name, value.name, value.number) for enum in file.enum_type for value in enum.value
    }
    messages = [(message.name, message) for message in file.message_type]
    for path, message in messages:
        messages += [(f"{path}.{nested.name}", nested) for nested in message.nested_type]
        found |= {(path, one.name, one.number, one.type, one.label, one.type_name) for one in message.field}
    return found


# Keys, TLS and certificates of clients.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grpc")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    client = authority.issue_cert("client@example.org")
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    (folder / "keys").write_text("alpha\nbeta streams=1\n")
    return folder


@pytest.fixture(scope="module")
def guarded(folder: Path, random_model_folder: Path) -> Iterator[Running]:
    with running(
        model=[str(random_model_folder)], api_key_file=str(folder / "keys"), idle_seconds=1,
        tls_certificate=str(folder / "server.pem"), tls_client_ca=str(folder / "ca.pem"),
    ) as server:  # fmt: skip
        yield server


def mutual(folder: Path, *metadata: list[str]) -> dict[str, Any]:
    own = {"ssl_client_cert": str(folder / "client.pem"), "ssl_client_key": str(folder / "client.key")}
    return {"ssl_root_cert": str(folder / "ca.pem"), "metadata_args": list(metadata), **own}


def test_a_key_and_a_certificate_come_in(guarded: Running, folder: Path) -> None:
    for metadata in (["authorization", "Bearer alpha"], ["x-api-key", "alpha"]):
        with service(guarded, **mutual(folder, metadata)) as asr:
            assert list(asr.streaming_response_generator([SECOND], streaming())) is not None


def test_without_a_key_nobody_does(guarded: Running, folder: Path) -> None:
    for metadata in ([], [["authorization", "Bearer wrong"]]):
        with service(guarded, **mutual(folder, *metadata)) as asr:
            code, _ = refusal(asr.streaming_response_generator([SECOND], streaming()))
            assert code == Code.UNAUTHENTICATED


def test_a_recording_is_not_read_before_its_key(guarded: Running, folder: Path) -> None:
    answered = threading.Event()

    def recordings() -> Iterator[bytes]:
        answered.wait(30)
        yield from ()

    with service(guarded, **mutual(folder, ["authorization", "Bearer wrong"])) as asr:
        recognize = asr.auth.channel.stream_unary(f"/{SERVICE}/Recognize")
        call = recognize.future(recordings(), metadata=asr.auth.get_auth_metadata(), timeout=20)
        assert call.code() == Code.UNAUTHENTICATED
        answered.set()


def test_without_a_certificate_nobody_does(guarded: Running, folder: Path) -> None:
    for options in ({}, {"ssl_root_cert": str(folder / "ca.pem")}):
        with service(guarded, metadata_args=[["authorization", "Bearer alpha"]], **options) as asr:
            assert refusal(asr.streaming_response_generator([SECOND], streaming()))[0] == Code.UNAVAILABLE


def test_a_keys_limits(guarded: Running, folder: Path) -> None:
    with service(guarded, **mutual(folder, ["authorization", "Bearer beta"])) as asr:
        first = asr.stub.StreamingRecognize(slowly(begin()), metadata=asr.auth.get_auth_metadata())
        wait(lambda: guarded.service.conversations)
        assert refusal(asr.streaming_response_generator([SECOND], streaming()))[0] == Code.RESOURCE_EXHAUSTED
        assert refusal(first)[0] == Code.DEADLINE_EXCEEDED  # it says nothing


def test_who_says_nothing_at_all_is_let_go(guarded: Running, folder: Path) -> None:
    with service(guarded, **mutual(folder, ["authorization", "Bearer alpha"])) as asr:
        silent = asr.stub.StreamingRecognize(slowly(), metadata=asr.auth.get_auth_metadata())
        assert refusal(silent)[0] == Code.DEADLINE_EXCEEDED


def slowly(*first: Any) -> Iterator[Any]:
    """Messages, and then none for longer than the server waits."""
    yield from first
    time.sleep(3)


def test_grpc_knows_what_is_asked_of_it() -> None:
    """How its messages are read is one of its experiments, which come and go with its versions."""
    code = "import nemotron_asr.server, grpc; grpc.insecure_channel('localhost:1').close()"
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "experiment" not in process.stderr


def test_calls_are_limited(random_model_folder: Path) -> None:
    with running(model=[str(random_model_folder)], max_connections=2) as server, service(server) as asr:
        waiting = [asr.stub.StreamingRecognize(slowly(begin())) for _ in range(2)]
        wait(lambda: len(server.service.conversations) == 2)
        assert refusal(asr.streaming_response_generator([SECOND], streaming()))[0] == Code.RESOURCE_EXHAUSTED
        for call in waiting:
            call.cancel()
        wait(lambda: not server.service.conversations)
        assert list(asr.streaming_response_generator([SECOND], streaming())) is not None


def test_a_port_that_is_taken(server: Running) -> None:
    with pytest.raises(nemotron_asr.errors.OptionError, match="listen"), running(grpc_port=server.ports["riva"]):
        pass
