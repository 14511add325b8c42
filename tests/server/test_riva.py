"""Riva's gRPC, through NVIDIA's own client."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import grpc
import numpy as np
import pytest
import riva.client
from numpy.typing import NDArray
from riva.client.proto import riva_asr_pb2

from nemotron_asr.server import riva_shapes
from nemotron_asr.server.problems import Problem
from tests.conftest import Sample
from tests.server.conftest import Running
from tests.server.contract import RATE, Contract, Request, Told, as_int16, as_wav
from tests.server.riva_client import config, messages, refusal, service, streaming, text, told

AudioEncoding = riva.client.AudioEncoding


@pytest.fixture
def asr(server: Running) -> Iterator[riva.client.ASRService]:
    with service(server) as connected:
        yield connected


class TestStreaming(Contract):
    answers = False  # a final is one, whatever it answers

    def converse(self, server: Running, request: Request) -> list[Told]:
        language = "" if request.language == "auto" else request.language
        configuration = streaming(request.interim, language_code=language)
        said, answers = [], []
        with service(server) as asr:
            for response in asr.stub.StreamingRecognize(messages(request, configuration)):
                said += [told(result, "final" if result.is_final else "partial") for result in response.results]
                answers.append(response)
                if request.hang_up:
                    break
        assert all(len(response.results) == 1 for response in answers)
        return said


class TestRecognize(Contract):
    interim = finalizes = False
    latency_ms = 1120

    def converse(self, server: Running, request: Request) -> list[Told]:
        language = "" if request.language == "auto" else request.language
        with service(server) as asr:
            call = asr.offline_recognize(request.samples.tobytes(), config(language_code=language), future=True)
            if request.hang_up:
                time.sleep(0.05)
                return []
            return [told(result, "final") for result in call.result().results]


def test_who_asks_for_words_is_answered_though_there_are_none(asr: Any, silence: NDArray[np.int16]) -> None:
    (response,) = asr.stub.StreamingRecognize(messages(Request(silence, finalize_at=8000), streaming()))
    (result,) = response.results
    assert result.is_final
    assert result.alternatives[0].transcript == ""


@pytest.mark.parametrize("encoding", [AudioEncoding.ENCODING_UNSPECIFIED, AudioEncoding.LINEAR_PCM])
def test_a_file_is_streamed_from_its_first_byte(
    server: Running, asr: Any, speech: NDArray[np.int16], tmp_path: Path, encoding: int
) -> None:
    """As the client's own scripts do; nobody says the rate."""
    (tmp_path / "speech.wav").write_bytes(as_wav(speech))
    configuration = streaming(encoding=encoding, sample_rate_hertz=0, audio_channel_count=0)
    with riva.client.AudioChunkFileIterator(tmp_path / "speech.wav", 1600) as chunks:
        responses = list(asr.streaming_response_generator(chunks, configuration))
    said = text(result for response in responses for result in response.results)
    assert letters(said) == letters(server.recognizer.transcribe((speech, RATE), latency_ms=320).text)


def test_finals_are_put_together_as_they_are(server: Running, asr: Any, speech: NDArray[np.int16]) -> None:
    response = asr.offline_recognize(speech.tobytes(), config())
    assert len(response.results) > 1
    assert text(response.results) == server.recognizer.transcribe((speech, RATE)).text


def test_what_may_have_been_said_instead(server: Running, asr: Any, speech: NDArray[np.int16]) -> None:
    recording = asr.offline_recognize(speech.tobytes(), config(max_alternatives=3)).results
    stream = asr.streaming_response_generator([speech.tobytes()], streaming(interim=False, max_alternatives=3))
    live = [result for response in stream for result in response.results]
    for found, latency_ms in ((recording, 1120), (live, 320)):
        said = server.recognizer.transcribe((speech, RATE), latency_ms=latency_ms, beam=3).segments
        expected = [[one.text, *(other.segment.text for other in one.alternatives)][:3] for one in said]
        assert [[each.transcript.strip() for each in result.alternatives] for result in found] == expected
        assert {len(texts) for texts in expected} - {1}
        assert all(each.words for result in found for each in result.alternatives)


@pytest.mark.parametrize("codec", ["flac", "mulaw"])
def test_other_encodings(server: Running, asr: Any, speech: NDArray[np.int16], codec: str) -> None:
    """Also a mu-law file with its header, which knows the rate better than the configuration."""
    file = encoded(speech, {"flac": ("flac", "flac"), "mulaw": ("wav", "pcm_mulaw")}[codec])
    encoding = {"flac": AudioEncoding.FLAC, "mulaw": AudioEncoding.MULAW}[codec]
    configuration = streaming(encoding=encoding, sample_rate_hertz=8000)
    chunks = [file[start : start + 3200] for start in range(0, len(file), 3200)]
    responses = list(asr.streaming_response_generator(chunks, configuration))
    said = text(result for response in responses for result in response.results)
    heard = server.recognizer.transcribe((decoded(file), RATE), latency_ms=320)
    assert letters(said) == letters(heard.text)


def encoded(samples: NDArray[np.int16], how: tuple[str, str], layout: str = "mono") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=how[0]) as container:
        stream = container.add_stream(how[1], rate=RATE)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout=layout)
        frame.rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def decoded(file: bytes) -> NDArray[np.int16]:
    with av.open(io.BytesIO(file), "r") as container:
        return np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)]).astype(np.int16)


def test_channels_apart(server: Running, asr: Any, speech: NDArray[np.int16]) -> None:
    stereo = np.stack([speech, np.zeros_like(speech)], axis=1)
    both = {"audio_channel_count": 2, "enable_separate_recognition_per_channel": True}
    recording = asr.offline_recognize(stereo.tobytes(), config(**both)).results
    stream = asr.streaming_response_generator([stereo.tobytes()], streaming(interim=False, **both))
    results = [result for response in stream for result in response.results]
    assert {result.channel_tag for result in (*recording, *results)} == {1}
    assert text(recording) == server.recognizer.transcribe((speech, RATE)).text
    assert letters(text(results)) == letters(server.recognizer.transcribe((speech, RATE), latency_ms=320).text)


def test_channels_that_speak_at_once(asr: Any, samples: list[Sample]) -> None:
    """One call answers for both, which have always something to say at the same moment."""
    both: dict[str, Any] = {"audio_channel_count": 2, "enable_separate_recognition_per_channel": True}
    stereo = np.repeat(as_int16(samples[0].audio)[:, None], 2, axis=1).tobytes()
    request = Request(np.frombuffer(stereo, np.int16), packet=6400)
    for _ in range(4):
        call = asr.stub.StreamingRecognize(messages(request, streaming(**both)), timeout=20)
        said = [result for response in call for result in response.results if result.is_final]
        first, second = ([result for result in said if result.channel_tag == tag] for tag in (1, 2))
        assert text(first) == text(second) != ""


@pytest.mark.parametrize("form", ["wav", "flac"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_channels_apart_of_a_file(server: Running, asr: Any, samples: list[Sample], form: str, count: int) -> None:
    """It knows itself how many it has; of a stream nobody does before it is too late."""
    left, right = (as_int16(sample.audio)[: 3 * RATE] for sample in samples[:2])
    stereo = np.stack([left, right], axis=1)
    file = as_wav(stereo, channels=2) if form == "wav" else encoded(stereo.reshape(-1), ("flac", "flac"), "stereo")
    separate = config(encoding=0, audio_channel_count=count, enable_separate_recognition_per_channel=True)
    results = asr.offline_recognize(file, separate).results
    for tag, samples_of_it in ((1, left), (2, right)):
        said = text(result for result in results if result.channel_tag == tag)
        assert said == server.recognizer.transcribe((samples_of_it, RATE)).text != ""
    if not count:
        stream = riva.client.StreamingRecognitionConfig(config=separate)
        code, words = refusal(asr.streaming_response_generator([file], stream))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "audio_channel_count" in words


def test_words_come_when_they_are_wanted(asr: Any, speech: NDArray[np.int16]) -> None:
    for wanted in (True, False):
        response = asr.offline_recognize(speech.tobytes(), config(enable_word_time_offsets=wanted))
        words = response.results[0].alternatives[0].words
        assert bool(words) == wanted
        assert all(0 <= word.confidence <= 1 and word.start_time <= word.end_time for word in words)


def test_a_request_is_known_by_its_id(asr: Any, speech: NDArray[np.int16]) -> None:
    request = riva_asr_pb2.RecognizeRequest(config=config(), audio=speech.tobytes(), id={"value": "seven"})
    assert asr.stub.Recognize(request).id.value == "seven"
    stream = riva_asr_pb2.StreamingRecognizeRequest(streaming_config=streaming(), id={"value": "eight"})
    audio = riva_asr_pb2.StreamingRecognizeRequest(audio_content=speech.tobytes())
    assert {response.id.value for response in asr.stub.StreamingRecognize(iter([stream, audio]))} == {"eight"}


def letters(said: str) -> str:
    """Without spaces: behind a live final there is one whether or not the next final wants it."""
    return "".join(said.split())


def wanted(**fields: Any) -> riva_shapes.RecognitionRequest:
    """What the client's configuration means here."""
    return riva_shapes.wish_of(config(**fields))


def test_what_the_clients_helpers_set_up() -> None:
    configuration = config(language_code="de-DE")
    riva.client.add_word_boosting_to_config(configuration, ["Nemotron", "Anna Wintour"], 4.0)
    riva.client.add_word_boosting_to_config(configuration, ["Riva"], 40.0)
    riva.client.add_endpoint_parameters_to_config(configuration, 0, 0, 320, 160, 0.9, 0)
    riva.client.add_custom_configuration_to_config(configuration, "latency_ms:80, neural_vad.onset:0.65")
    meant = riva_shapes.wish_of(configuration)
    assert meant.options == {
        "language": "de-DE", "latency_ms": 80, "endpointing_ms": 320,
        "boost": {"Nemotron": 1.0, "Anna Wintour": 1.0, "Riva": 2.0},
    }  # fmt: skip


def test_languages() -> None:
    assert wanted().options == wanted(language_code="multi").options == {"language": "auto"}
    assert wanted(language_code="de-DE, fr-FR").options == {"language": "auto", "languages": ["de-DE", "fr-FR"]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoding": 7}, "encoding 7"),
        ({"sample_rate_hertz": -1}, "rate"),
        ({"audio_channel_count": 100}, "channels"),
        ({"profanity_filter": True}, "filter"),
        ({"diarization_config": {"enable_speaker_diarization": True}}, "diarization"),
        ({"custom_configuration": {"latency_ms": "fast"}}, "latency_ms"),
        ({"speech_contexts": [{"phrases": ["a"], "boost": float("nan")}]}, "boost"),
    ],
)
def test_what_is_not_offered(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words):
        wanted(**fields)
