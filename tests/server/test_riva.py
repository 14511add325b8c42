"""Riva's gRPC, through NVIDIA's own client."""

import time
import warnings
from collections.abc import Iterator
from typing import Any, Literal

from tests.server.conftest import Running
from tests.server.contract import RATE, Contract, Request, Told

with warnings.catch_warnings():  # its messages were generated for the protobuf before ours
    warnings.simplefilter("ignore", UserWarning)
    import riva.client
    from riva.client.proto import riva_asr_pb2

PCM = riva.client.AudioEncoding.LINEAR_PCM


def service(server: Running, **options: Any) -> riva.client.ASRService:
    return riva.client.ASRService(riva.client.Auth(uri=f"127.0.0.1:{server.ports['riva']}", **options))


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


class TestStreaming(Contract):
    answers = False

    def converse(self, server: Running, request: Request) -> list[Told]:
        asr = service(server)
        language = "" if request.language == "auto" else request.language
        calls = asr.stub.StreamingRecognize(self.messages(request, streaming(request.interim, language_code=language)))
        said = []
        try:
            for response in calls:
                said += [told(result, "final" if result.is_final else "partial") for result in response.results]
                if request.hang_up:
                    break
        finally:
            calls.cancel()
            asr.auth.channel.close()
        return said

    def messages(self, request: Request, configuration: Any) -> Iterator[Any]:
        """As the client's `streaming_request_generator`, which cannot ask for the words so far."""
        yield riva_asr_pb2.StreamingRecognizeRequest(streaming_config=configuration)
        for data, finalize in request.packets():
            ask = {"force_eou": "true"} if finalize else {}
            yield riva_asr_pb2.StreamingRecognizeRequest(audio_content=data, runtime_config=ask)
            time.sleep(request.wait(data))


class TestRecognize(Contract):
    interim = finalizes = False
    latency_ms = 1120

    def converse(self, server: Running, request: Request) -> list[Told]:
        language = "" if request.language == "auto" else request.language
        asr = service(server)
        call = asr.offline_recognize(request.samples.tobytes(), config(language_code=language), future=True)
        try:
            if request.hang_up:
                time.sleep(0.05)
                return []
            response = call.result()
        finally:
            call.cancel()
            asr.auth.channel.close()
        return [told(result, "final") for result in response.results]
