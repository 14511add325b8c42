"""Riva's gRPC and Wyoming: calls end with a status of the client's fault, connections with an error or not at all."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.server.riva_messages import SERVICE, RecognizeRequest, StreamingRequest
from tests.server.conftest import Running
from tests.server.fuzz.messages import TRANSCRIBE, riva_config, written
from tests.server.fuzz.strategies import SOUND, Bounded, as_json, one_of, spoilt

pytestmark = pytest.mark.usefixtures("neighbour")

STATUS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}


@pytest.fixture(scope="module")
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['riva']}") as channel:
        yield channel


def status(call: Any) -> str:
    with suppress(grpc.RpcError):
        list(call)
    return str(call.code().name)


@st.composite
def packet(draw: st.DrawFn) -> Any:
    """A message with audio of Riva's."""
    runtime = draw(st.dictionaries(one_of("force_eou") | written(), one_of("true") | written(), max_size=1))
    return StreamingRequest(audio_content=draw(SOUND), runtime_config=runtime)


STREAM = st.tuples(riva_config(), st.lists(packet() | riva_config(), max_size=3)).map(lambda said: [said[0], *said[1]])


@given(STREAM, st.data())
@Bounded
def test_riva_streams(channel: grpc.Channel, stream: list[Any], data: st.DataObject) -> None:
    messages = [bytes(message.SerializeToString()) for message in stream]
    if data.draw(st.booleans()):
        messages[-1] = data.draw(spoilt(st.just(messages[-1])))
    method: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/StreamingRecognize")
    assert status(method(iter(messages), timeout=30)) in STATUS


@given(riva_config(), SOUND)
@Bounded
def test_riva_recordings(channel: grpc.Channel, first: Any, audio: bytes) -> None:
    request = RecognizeRequest(config=first.streaming_config.config, audio=audio).SerializeToString()
    method: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{SERVICE}/Recognize")
    assert status(method(request, timeout=30)) in STATUS


EVENT = as_json(TRANSCRIBE).map(str.encode)
FRAME = st.tuples(one_of("transcribe", "audio-start", "audio-chunk", "audio-stop", "ping"), EVENT, SOUND).map(
    lambda said: (
        json.dumps({"type": said[0], "data_length": len(said[1]), "payload_length": len(said[2])}).encode()
        + b"\n"
        + said[1]
        + said[2]
    )
)
START = b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n'


@given(st.lists(EVENT.map(lambda line: line + b"\n") | FRAME | st.just(START) | spoilt(FRAME), max_size=4))
@Bounded
def test_wyoming(server: Running, events: list[bytes]) -> None:
    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["wyoming"])
        with suppress(ConnectionError):
            writer.write(b"".join(events))
            writer.write_eof()
        said = b""
        with suppress(ConnectionError):
            said = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return said

    said = asyncio.run(talk())
    assert not said or said.startswith(b'{"type": ')
