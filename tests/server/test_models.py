"""Several models at once, one of them an adapter: every protocol that has a name for a model chooses by it."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import torch
import websockets
from numpy.typing import NDArray
from starlette.routing import Route
from wyoming.asr import Transcribe
from wyoming.audio import AudioStart, AudioStop

from nemotron_asr.checkpoint import load_checkpoint, to_float
from nemotron_asr.checkpoint.adapter import fingerprint, write_adapter
from nemotron_asr.errors import OptionError
from nemotron_asr.recognizer import Recognizer, load
from nemotron_asr.server.models import Models, _places
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.serving import application
from nemotron_asr.server.settings import Settings
from tests.server.conftest import Running, running
from tests.server.contract import RATE, as_wav
from tests.server.riva_client import config, service
from tests.server.test_wyoming import ask, chunk

Samples = NDArray[np.int16]
Speak = Callable[[Running, NDArray[np.int16], str], None]


@pytest.fixture(scope="module")
def adapter(random_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that changes what the model says."""
    folder, weights = (
        tmp_path_factory.mktemp("adapters") / "greek",
        to_float(load_checkpoint(random_model_folder).weights),
    )
    generator, stem = torch.Generator().manual_seed(0), "transducer.pred"
    rows, columns = weights[f"{stem}.weight"].shape
    factors = {
        f"{stem}.lora_A.weight": torch.randn(4, columns, generator=generator),
        f"{stem}.lora_B.weight": torch.randn(rows, 4, generator=generator),
    }
    base = str(random_model_folder.resolve())
    settings = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 4, "lora_alpha": 8}
    write_adapter(factors, folder, settings, fingerprint(weights), "")
    return folder


@pytest.fixture(scope="module")
def server(random_model_folder: Path, adapter: Path) -> Iterator[Running]:
    with running(model=[f"base={random_model_folder}", str(adapter)]) as server:
        yield server


def test_an_adapter_names_its_parent(server: Running) -> None:
    listed = {model["id"]: model for model in httpx.get(f"{server.http}/v1/models").json()["data"]}
    assert list(listed) == ["base", "greek"]
    assert (listed["base"]["parent"], listed["greek"]["parent"]) == (None, "base")
    assert httpx.get(f"{server.http}/v1/models/greek").json() == listed["greek"]


def test_a_parent_that_is_not_served_is_named_as_it_is(random_model_folder: Path, adapter: Path) -> None:
    with running(model=[f"mine={adapter}"]) as server:
        assert httpx.get(f"{server.http}/v1/models/mine").json()["parent"] == random_model_folder.name


def test_while_one_is_loaded_it_is_not_mistaken_for_another(
    random_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, refused = Models(), list[Problem]()

    def look(name: str, *options: Any) -> Recognizer:
        if models.by_name:
            assert models.find(None).name == models.find("my-whisper", ["*whisper*"]).name == "first"
            for asked in ("second-whisper", "third"):
                with pytest.raises(Problem) as problem:
                    models.find(asked, ["*whisper*"])
                refused.append(problem.value)
        return load(name, *options)

    monkeypatch.setattr("nemotron_asr.server.models.load", look)
    models.load(Settings(model=(f"first={random_model_folder}", f"second-whisper={random_model_folder}")))
    assert [problem.kind for problem in refused] == [Kind.UNAVAILABLE, Kind.NOT_FOUND]
    assert models.find("second-whisper").name == "second-whisper"


def test_names_are_compared_before_anything_is_loaded() -> None:
    with pytest.raises(OptionError, match=r"two models are named 'a'.*--model NAME=other"):
        Models().load(Settings(model=("nowhere/a", "b=nowhere/b", "a=other")))


def test_folders_of_experiments_have_equals_signs_in_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "lr=3e-4" / "best"
    folder.mkdir(parents=True)
    assert _places([str(folder), f"mine={folder}", "other=nvidia/some=model"]) == {
        "best": str(folder), "mine": str(folder), "other": "nvidia/some=model",
    }  # fmt: skip


def test_models_are_looked_at_while_others_are_loaded(random_model_folder: Path) -> None:
    """Which goes on in a thread of its own."""
    models = Models()
    models.load(Settings(model=(f"one={random_model_folder}",)))
    names = iter(models.by_name)
    models.load(Settings(model=(f"two={random_model_folder}",)))
    assert (list(names), list(models.engines)) == (["one"], ["one", "two"])
    asyncio.run(models.close(drain=False))


def test_what_is_asked_is_answered_in_the_event_loop(server: Running) -> None:
    """Keys and models are looked at and changed there; other threads would get in between."""
    routes = [route for route in application(server.service).routes if isinstance(route, Route)]
    assert len(routes) > 10
    assert not [route.path for route in routes if not iscoroutinefunction(route.endpoint)]


def test_each_says_its_own_words(server: Running, speech: Samples) -> None:
    said = {}
    for name in ("base", "greek"):
        url = f"{server.http}/v1/stream?encoding=s16le&latency_ms=320&interim_results=no&model={name}"
        events = map(json.loads, httpx.post(url, content=speech.tobytes(), timeout=60).text.splitlines())
        said[name] = [event["text"] for event in events if event["type"] == "final"]
        heard = server.service.models.find(name).recognizer.transcribe((speech, RATE), latency_ms=320)
        assert said[name] == [segment.text for segment in heard.segments]
    assert said["base"] != said["greek"]


def native(server: Running, samples: Samples, model: str) -> None:
    async def go() -> None:
        async with websockets.connect(f"{server.websocket}/v1/stream?encoding=s16le&model={model}") as socket:
            await socket.send(samples.tobytes())
            await socket.send('{"type": "close"}')
            assert [message async for message in socket]

    asyncio.run(go())


def openai(server: Running, samples: Samples, model: str) -> None:
    url, file = f"{server.http}/v1/audio/transcriptions", {"file": ("a.wav", as_wav(samples))}
    assert httpx.post(url, files=file, data={"model": model}, timeout=60).status_code == 200


def openai_realtime(server: Running, samples: Samples, model: str) -> None:
    sound = {"transcription": {"model": model}, "turn_detection": None}
    messages = [{"type": "session.update", "session": {"audio": {"input": sound}}}, append(samples), COMMIT]
    said = talk(server, "/v1/realtime?intent=transcription", messages, "completed")
    assert said[-1]["type"].endswith("completed")


def nim_realtime(server: Running, samples: Samples, model: str) -> None:
    session = {"input_audio_transcription": {"model": model}, "input_audio_params": {"sample_rate_hz": RATE}}
    messages = [{"type": "transcription_session.update", "session": session}, append(samples), DONE]
    said = talk(server, "/v1/realtime", messages, "is_last_result", "realtime", "realtime-token.none")
    assert said[-1]["type"].endswith("completed")


def deepgram(server: Running, samples: Samples, model: str) -> None:
    url = f"{server.http}/v1/listen?encoding=linear16&sample_rate=16000&model={model}"
    answer = httpx.post(url, content=samples.tobytes(), timeout=60)
    assert answer.json()["metadata"]["model_info"]


def riva(server: Running, samples: Samples, model: str) -> None:
    with service(server) as asr:
        assert asr.offline_recognize(samples.tobytes(), config(model=model)).results


def wyoming(server: Running, samples: Samples, model: str) -> None:
    start, stop = AudioStart(RATE, 2, 1).event(), AudioStop().event()
    events = [Transcribe(name=model).event(), start, chunk(samples.tobytes()), stop]
    assert ask(server, events, "transcript-stop")[-1].type == "transcript-stop"


Message = dict[str, Any]
COMMIT: Message = {"type": "input_audio_buffer.commit"}
DONE: Message = {"type": "input_audio_buffer.done"}


def append(samples: Samples) -> Message:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(samples.tobytes()).decode()}


def talk(server: Running, path: str, messages: list[Message], last: str, *offered: str) -> list[Message]:
    """What a realtime protocol says, up to a message with this in it that has come true."""

    async def go() -> list[Message]:
        subprotocols = [websockets.Subprotocol(one) for one in offered] or None
        async with websockets.connect(server.websocket + path, subprotocols=subprotocols) as socket:
            for message in messages:
                await socket.send(json.dumps(message))
            said = list[Message]()
            while not said or not (said[-1].get(last) or said[-1]["type"].endswith((last, "error"))):
                said.append(json.loads(await asyncio.wait_for(socket.recv(), 60)))
            return said

    return asyncio.run(go())


@pytest.mark.parametrize("speak", [native, openai, openai_realtime, nim_realtime, deepgram, riva, wyoming])
def test_every_protocol_chooses(
    server: Running, speech: Samples, speak: Callable[[Running, Samples, str], None]
) -> None:
    protocol = speak.__name__.replace("_", "-")
    opened = [server.service.metrics.opened.labels(protocol, name) for name in ("base", "greek")]
    before = [counter._value.get() for counter in opened]
    speak(server, speech, "greek")
    assert [counter._value.get() - one for counter, one in zip(opened, before, strict=True)] == [0, 1]
