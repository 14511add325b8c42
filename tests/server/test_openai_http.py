"""OpenAI's transcriptions, through OpenAI's own client."""

import io
from pathlib import Path
from typing import Any

import av
import httpx2 as httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from openai.types.audio import TranscriptionVerbose

from nemotron_asr.server import openai_shapes as shapes
from tests.conftest import Sample
from tests.server.conftest import Running
from tests.server.contract import RATE, Contract, Request, Told, as_int16, as_wav

LATENCY = 1120


def client(server: Running, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{server.http}/v1", max_retries=0, **options)


@pytest.fixture
def transcribe(server: Running) -> Any:
    with client(server) as connected:
        yield connected.audio.transcriptions.create


class TestTranscriptions(Contract):
    interim = finalizes = False
    latency_ms = LATENCY

    def converse(self, server: Running, request: Request) -> list[Told]:
        options: dict[str, Any] = {"language": request.language} if request.language != "auto" else {}
        with client(server, timeout=0.1 if request.hang_up else 60) as connected:
            try:
                said = connected.audio.transcriptions.create(
                    model="whisper-1", file=("a.wav", as_wav(request.samples)), response_format="verbose_json",
                    timestamp_granularities=["word", "segment"], **options,
                )  # fmt: skip
            except openai.APITimeoutError:
                assert request.hang_up
                return []
        words = [(word.word, word.start, word.end) for word in said.words or []]
        return [
            Told("final", one.text, tuple(word for word in words if one.start <= word[1] < one.end), language(one))
            for one in said.segments or []
        ]


def language(segment: Any) -> Any:
    return segment.model_extra["language"]


def test_json(transcribe: Any, server: Running, samples: list[Sample]) -> None:
    heard = server.recognizer.transcribe(samples[0].path, latency_ms=LATENCY)
    said = transcribe(model="tiny", file=Path(samples[0].path), include=["logprobs"])
    assert said.text == heard.text
    assert said.usage.type == "duration"
    assert said.usage.seconds == heard.duration
    assert [one.code for one in said.languages] == [heard.language]
    assert [one.token for one in said.logprobs] == [word.word for word in heard.words]
    assert all(one.logprob <= 0 for one in said.logprobs)


async def test_text_and_subtitles(server: Running, samples: list[Sample]) -> None:
    heard = server.recognizer.transcribe(samples[1].path, latency_ms=LATENCY)
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{server.http}/v1") as connected:
        create = connected.audio.transcriptions.create
        path = Path(samples[1].path)
        assert await create(model="gpt-4o-transcribe", file=path, response_format="text") == heard.text + "\n"
        assert await create(model="tiny", file=path, response_format="srt") == heard.to_srt()
        assert await create(model="tiny", file=path, response_format="vtt") == heard.to_vtt()


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt", "verbose_json"])
def test_every_format_as_events(transcribe: Any, server: Running, samples: list[Sample], form: str) -> None:
    heard = server.recognizer.transcribe(samples[1].path, latency_ms=LATENCY)
    *deltas, done = transcribe(model="tiny", file=Path(samples[1].path), response_format=form, stream=True)
    assert "".join(delta.delta for delta in deltas) == done.text == heard.text
    assert "usage" not in done.model_fields_set
    subtitles = {"srt": heard.to_srt(), "vtt": heard.to_vtt()}
    assert {name: done.model_extra[name] for name in subtitles if name in done.model_extra} == {
        name: text for name, text in subtitles.items() if name == form
    }
    segments = [segment["text"].strip() for segment in done.model_extra.get("segments", [])]
    assert segments == ([segment.text for segment in heard.segments] if form == "verbose_json" else [])


async def test_deltas_are_never_taken_back(server: Running, speech: NDArray[np.int16]) -> None:
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=80)
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{server.http}/v1") as connected:
        stream = await connected.audio.transcriptions.create(
            model="tiny", file=("a.wav", as_wav(speech)), stream=True, extra_body={"latency_ms": 80}
        )
        events = [event async for event in stream]
    *deltas, done = events
    assert done.type == "transcript.text.done"
    assert done.text == heard.text
    assert len(deltas) > 2
    assert "".join(delta.delta for delta in deltas if delta.type == "transcript.text.delta") == heard.text
    assert len(heard.segments) > 1


def test_silence_has_no_language(transcribe: Any, silence: NDArray[np.int16]) -> None:
    """And yet the client's type has one."""
    said = transcribe(model="tiny", file=("a.wav", as_wav(silence)), response_format="verbose_json")
    assert TranscriptionVerbose.model_validate(said.to_dict()).language == ""


def test_keywords_prompt_and_languages_are_options(transcribe: Any, server: Running, samples: list[Sample]) -> None:
    file = Path(samples[0].path)
    heard = server.recognizer.transcribe(
        file, latency_ms=LATENCY, boost={"Frau Holle": 1.0, "Schwed": 0.5}, languages=["de-DE", "nl-NL"]
    )
    said = transcribe(model="tiny", file=file, languages=["de", "nl"], keywords=["Frau Holle"], prompt="Schwed.")
    assert said.text == heard.text


def test_a_prompt_is_phrases() -> None:
    assert shapes.boost(["Ada"], "Glossary: Nemotron 3.5") == {"Glossary": 0.5, "Nemotron 3": 0.5, "5": 0.5, "Ada": 1.0}
    long = "so we have been to Regensburg and to Passau"
    assert shapes.boost([], long) == {"Regensburg": 0.5, "Passau": 0.5}


def as_flac(sides: NDArray[np.int16]) -> bytes:
    """Two channels, shape (2, samples)."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(sides.T.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("names", [["A", "B"], ["agent", "B"], ["agent", "caller"]])
def test_speakers_are_channels(transcribe: Any, server: Running, samples: list[Sample], names: list[str]) -> None:
    file = as_flac(as_int16(np.stack([samples[0].audio[: 3 * RATE], samples[2].audio[: 3 * RATE]])))
    named = {"known_speaker_names": known} if (known := [name for name in names if len(name) > 1]) else {}
    said = transcribe(model="tiny", file=("a.flac", file), response_format="diarized_json", **named)
    heard = server.recognizer.transcribe(file, latency_ms=LATENCY, channels="separate")
    assert (said.text, said.duration, said.usage.seconds) == (heard.text, heard.duration, heard.duration)
    speakers = dict(zip(["channel 0", "channel 1"], names, strict=True))
    assert [(one.start, one.end, one.text, one.speaker) for one in said.segments] == [
        (one.start, one.end, one.text, speakers[one.speaker or ""]) for one in heard.segments
    ]
    assert {one.speaker for one in said.segments} == set(names)


def test_a_prompt_is_a_hint_in_any_script(transcribe: Any, samples: list[Sample]) -> None:
    boosted = shapes.boost([], "\u4f60\u597d\uff0c\u4e16\u754c\u3002" + "x" * 201)
    assert list(boosted) == ["\u4f60\u597d", "\u4e16\u754c"]
    assert transcribe(model="tiny", file=Path(samples[0].path), prompt="x" * 5000).text


@pytest.mark.parametrize(
    ("wrong", "parameter", "status"),
    [
        ({"model": "wav2vec"}, "model", 404),
        ({"language": "xx"}, "language", 400),
        ({"response_format": "diarized_json"}, "response_format", 400),
        ({"response_format": "diarized_json", "stream": True}, "stream", 400),
        ({"timestamp_granularities": ["phoneme"]}, "timestamp_granularities", 400),
        ({"extra_body": {"colour": "red"}}, "colour", 400),
        ({"extra_body": {"chunking_strategy": '{"type": "by_ear"}'}}, "chunking_strategy", 400),
        ({"extra_body": {"chunking_strategy": '{"silence_duration_ms": 50}'}}, "endpointing_ms", 400),
        ({"extra_body": {"latency_ms": "90"}}, "latency_ms", 400),
        ({"file": ("a.wav", b"RIFF no wave at all")}, None, 400),
        ({"file": ("a.wav", b"")}, None, 400),
    ],
)
def test_what_is_wrong_is_named(
    transcribe: Any, samples: list[Sample], wrong: dict[str, Any], parameter: str | None, status: int
) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        transcribe(**{"model": "tiny", "file": Path(samples[0].path), **wrong})
    assert raised.value.status_code == status
    assert raised.value.param == parameter
    assert raised.value.type == "invalid_request_error"


CURL = "e.g. curl -F file=@talk.mp3"


@pytest.mark.parametrize(
    ("request_", "parameter", "message"),
    [
        ({"content": bytes(1000)}, None, "send multipart/form-data with the file"),
        ({"data": {"file": "a"}}, None, "send multipart/form-data with the file"),
        ({"files": {"file": (None, "talk.mp3")}}, "file", "file is text; send the file itself"),
        ({"files": {"model": (None, "a")}}, "file", "the form has no file; send one"),
    ],
)
def test_a_form_without_its_file_is_told_how(
    server: Running, request_: dict[str, Any], parameter: str | None, message: str
) -> None:
    answer = httpx.post(f"{server.http}/v1/audio/transcriptions", **request_)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["message"]) == (400, parameter, f"{message}, {CURL}")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/", "/v1"])
def test_a_path_that_is_not_there_is_told_what_is(server: Running, path: str) -> None:
    answer = httpx.post(f"{server.http}{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "unknown_url")
    assert error["message"].startswith(f"{path} is unknown; choose ")
    offered = error["message"].partition("; choose ")[2].split(", ")
    assert {"/v1/audio/transcriptions", "/v1/listen", "/v1/models/{name}", "/v1/stream"} <= set(offered)
    assert httpx.get(f"{server.http}/elsewhere").text == "Not Found"
    assert httpx.get(f"{server.http}/page/elsewhere").text == "Not Found"


def test_models(server: Running) -> None:
    with client(server) as connected:
        assert [model.id for model in connected.models.list()] == ["tiny"]
        assert connected.models.retrieve("tiny").object == "model"
        with pytest.raises(openai.NotFoundError, match="choose tiny"):
            connected.models.retrieve("large")


def test_where_a_nim_container_has_things(server: Running, samples: list[Sample]) -> None:
    """As those ask who move from one: its addresses, and `multi` for any language."""
    with httpx.Client(base_url=f"{server.http}/v1", timeout=60) as anybody:
        for address in ("health/live", "health/ready", "metrics", "version", "models"):
            assert anybody.get(address).status_code == 200, address
        form = {"language": "multi", "model": "tiny", "response_format": "json"}
        file = {"file": ("a.opus", Path(samples[0].path).read_bytes())}
        said = anybody.post("audio/transcriptions", data=form, files=file).json()
    heard = server.recognizer.transcribe(samples[0].path, latency_ms=LATENCY)
    assert said["text"] == heard.text
    assert said["usage"] == {"type": "duration", "seconds": heard.duration}


def test_no_page_of_others_may_call_unless_it_is_named(server: Running) -> None:
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        httpx.options(f"{server.http}/v1/audio/transcriptions", headers=headers),
        httpx.get(f"{server.http}/v1/models", headers=headers),
    ):
        assert "access-control-allow-origin" not in answer.headers
