"""What clients ask for, each by its protocol's own words, arrives at the engine."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deepgram.listen.v1.types.listen_v1configure import ListenV1Configure
from numpy.typing import NDArray
from riva.client.proto import riva_asr_pb2
from wyoming.asr import Transcribe, VadSensitivity

from nemotron_asr.engine import Session
from nemotron_asr.server.wyoming_events import NAME_WEIGHT, TERM_WEIGHT
from tests.server import test_deepgram, test_nim_realtime, test_openai_http, test_openai_realtime, test_wyoming
from tests.server.conftest import Running
from tests.server.contract import Request, as_wav
from tests.server.riva_client import messages, service, streaming

pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # Deepgram's client imports what is old

Samples = NDArray[np.int16]
Wishes = dict[str, Any]


@pytest.fixture
def opened(server: Running, monkeypatch: pytest.MonkeyPatch) -> list[Wishes]:
    """The options of every stream that is opened."""
    engine, options = server.service.models.find(None).engine, list[Wishes]()
    opening = engine.open

    def note(**wished: Any) -> Session:
        options.append(wished)
        return opening(**wished)

    monkeypatch.setattr(engine, "open", note)
    return options


def openai(server: Running, samples: Samples) -> Wishes:
    with test_openai_http.client(server) as connected:
        connected.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", as_wav(samples)), languages=["de", "nl"],
            keywords=["Frau Holle"], prompt="Schwed, Ada.", chunking_strategy={
                "type": "server_vad", "silence_duration_ms": 700,
            },
        )  # fmt: skip
    boost = {"Frau Holle": 1.0, "Schwed": 0.5, "Ada": 0.5}
    return {"recording": True, "languages": ["de", "nl"], "boost": boost, "endpointing_ms": 700, "latency_ms": 1120}


def openai_realtime(server: Running, samples: Samples) -> Wishes:
    session = test_openai_realtime.wanted(delay="low", keywords=["Ada"], prompt="Bob", language="de")
    asyncio.run(test_openai_realtime.talk(server, Request(samples), session, turns=1))
    return {"latency_ms": 160, "boost": {"Ada": 1.0, "Bob": 0.5}, "language": "de", "endpointing_ms": None}


def nim_realtime(server: Running, samples: Samples) -> Wishes:
    args = test_nim_realtime.arguments(
        server, boosted_lm_words=["Ada"], boosted_lm_score=4.0, language_code="de-DE", stop_history=700,
        custom_configuration="latency_ms:80",
    )  # fmt: skip
    asyncio.run(test_nim_realtime.talk(Request(samples), args))
    return {"latency_ms": 80, "boost": {"Ada": 1.0}, "language": "de-DE", "endpointing_ms": 700}


def deepgram(server: Running, samples: Samples) -> Wishes:
    test_deepgram.talk(
        server, lambda socket: test_deepgram.send(socket, Request(samples)), language="de", endpointing=700,
        keyterm=["Ada"], keywords=["Bob:2"],
    )  # fmt: skip
    return {"language": "de", "endpointing_ms": 700, "boost": {"Ada": 1.0, "Bob": 2.0}, "recording": False}


def riva(server: Running, samples: Samples) -> Wishes:
    wished = streaming(
        language_code="de-DE", speech_contexts=[riva_asr_pb2.SpeechContext(phrases=["Ada"], boost=40.0)],
        custom_configuration={"latency_ms": "560"},
    )  # fmt: skip
    wished.config.endpointing_config.stop_history = 700
    with service(server) as asr:
        list(asr.stub.StreamingRecognize(messages(Request(samples), wished)))
    return {"latency_ms": 560, "language": "de-DE", "endpointing_ms": 700, "boost": {"Ada": 2.0}}


def wyoming(server: Running, samples: Samples) -> Wishes:
    wished = Transcribe(
        language="de", transcript_names=["Ada"], transcript_terms=["Küche"], vad_sensitivity=VadSensitivity.RELAXED
    )
    events = [wished.event(), test_wyoming.START, *test_wyoming.spoken(samples), test_wyoming.STOP]
    test_wyoming.ask(server, events, "transcript-stop")
    return {"language": "de", "endpointing_ms": 1250, "boost": {"Ada": NAME_WEIGHT, "Küche": TERM_WEIGHT}}


@pytest.mark.parametrize("speak", [openai, openai_realtime, nim_realtime, deepgram, riva, wyoming])
def test_from_the_first_word_on(
    server: Running, silence: Samples, opened: list[Wishes], speak: Callable[[Running, Samples], Wishes]
) -> None:
    wished = speak(server, silence)
    (options,) = opened
    assert {name: options.get(name) for name in wished} == wished


def openai_elsewhere(server: Running, samples: Samples) -> None:
    with test_openai_http.client(server) as connected:
        connected.audio.transcriptions.create(model="whisper-1", file=("a.wav", as_wav(samples)), language="en-AU")


def openai_realtime_elsewhere(server: Running, samples: Samples) -> None:
    session = test_openai_realtime.wanted(language="en-AU")
    asyncio.run(test_openai_realtime.talk(server, Request(samples), session, turns=1))


def nim_realtime_elsewhere(server: Running, samples: Samples) -> None:
    asyncio.run(test_nim_realtime.talk(Request(samples), test_nim_realtime.arguments(server, language_code="en-AU")))


def deepgram_elsewhere(server: Running, samples: Samples) -> None:
    test_deepgram.talk(server, lambda socket: test_deepgram.send(socket, Request(samples)), language="en-AU")


def riva_elsewhere(server: Running, samples: Samples) -> None:
    with service(server) as asr:
        list(asr.stub.StreamingRecognize(messages(Request(samples), streaming(language_code="en_au"))))


def wyoming_elsewhere(server: Running, samples: Samples) -> None:
    events = [Transcribe(language="en-AU").event(), test_wyoming.START, *test_wyoming.spoken(samples)]
    test_wyoming.ask(server, [*events, test_wyoming.STOP], "transcript-stop")


@pytest.mark.parametrize(
    "speak",
    [openai_elsewhere, openai_realtime_elsewhere, nim_realtime_elsewhere, deepgram_elsewhere, riva_elsewhere,
     wyoming_elsewhere],
)  # fmt: skip
def test_a_language_where_the_model_does_not_have_it(
    server: Running, silence: Samples, opened: list[Wishes], speak: Callable[[Running, Samples], None]
) -> None:
    speak(server, silence)
    assert [options["language"] for options in opened] == ["en"]


def test_hints_of_where_the_model_does_not_have_them(server: Running, silence: Samples, opened: list[Wishes]) -> None:
    test_deepgram.talk(
        server, lambda socket: test_deepgram.send(socket, Request(silence)), language="Multi",
        request_options={"additional_query_parameters": {"language_hint": ["en-AU", "es-419"]}},
    )  # fmt: skip
    assert [(options["language"], options["languages"]) for options in opened] == [("auto", ["en", "es"])]


def test_key_terms_that_change(server: Running, silence: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, change = list[Any](), Session.set_boost

    def note(session: Session, boost: Any) -> None:
        changes.append(boost)
        change(session, boost)

    monkeypatch.setattr(Session, "set_boost", note)

    def say(socket: Any) -> None:
        socket.send_media(silence.tobytes())
        socket.send_configure(ListenV1Configure(keyterms=["Parakeet"]))
        socket.send_close_stream()

    test_deepgram.talk(server, say, keyterm=["Canary"], keywords=["Bob:2"])
    assert changes == [{"Bob": 2.0, "Parakeet": 1.0}]
