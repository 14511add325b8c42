"""NVIDIA's client, set up for the server under test."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import grpc
import pytest
import riva.client
from riva.client.proto import riva_asr_pb2

from tests.server.conftest import Running
from tests.server.contract import RATE, Request, Told

PCM = riva.client.AudioEncoding.LINEAR_PCM


@contextmanager
def service(server: Running, **options: Any) -> Iterator[riva.client.ASRService]:
    auth = riva.client.Auth(uri=f"127.0.0.1:{server.ports['riva']}", **options)
    with auth.channel:
        yield riva.client.ASRService(auth)


def config(**options: Any) -> Any:
    given = {"encoding": PCM, "sample_rate_hertz": RATE, "audio_channel_count": 1, "enable_word_time_offsets": True}
    return riva.client.RecognitionConfig(**(given | options))


def streaming(interim: bool = True, **options: Any) -> Any:
    return riva.client.StreamingRecognitionConfig(config=config(**options), interim_results=interim)


def told(result: Any, kind: Literal["partial", "final"]) -> Told:
    (alternative,) = result.alternatives
    words = tuple((word.word, word.start_time / 1000, word.end_time / 1000) for word in alternative.words)
    language = next(iter(alternative.language_code), None)
    return Told(kind, alternative.transcript, words, language)


def messages(request: Request, configuration: Any) -> Iterator[Any]:
    """As the client's `streaming_request_generator`, which cannot ask for the words so far."""
    yield riva_asr_pb2.StreamingRecognizeRequest(streaming_config=configuration)
    for data, finalize in request.packets():
        ask = {"force_eou": "true"} if finalize else {}
        yield riva_asr_pb2.StreamingRecognizeRequest(audio_content=data, runtime_config=ask)
        time.sleep(request.wait(data))


def text(results: Iterable[Any]) -> str:
    """What the finals say, put together as the client does."""
    return "".join(result.alternatives[0].transcript for result in results if getattr(result, "is_final", True))


def refusal(calls: Any) -> tuple[grpc.StatusCode, str]:
    """How a call ends that is refused."""
    with pytest.raises(grpc.RpcError) as error:
        list(calls)
    return error.value.code(), str(error.value.details())
