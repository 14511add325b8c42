"""OpenAI's realtime protocol, through OpenAI's own client."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import openai
import pytest
import websockets
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.typing import Subprotocol

from nemotron_asr.events import Final, Segment, SpeechEnded
from nemotron_asr.languages import PROMPTS
from nemotron_asr.server import nim_session, openai_realtime
from nemotron_asr.server.formats import AudioFormat, PlainReader
from nemotron_asr.server.openai_session import new_session, read, updated
from nemotron_asr.transcript import Transcript
from tests.server.conftest import Running, running
from tests.server.contract import RATE, Contract, Request, Told

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def client(server: Running, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{server.http}/v1", max_retries=0)


def wanted(rate: int = RATE, turn_detection: Any = None, **transcription: Any) -> Any:
    sound = {
        "format": {"type": "audio/pcm", "rate": rate},
        "transcription": {"model": "gpt-4o-transcribe", **transcription},
        "turn_detection": turn_detection,
    }
    return {"type": "transcription", "audio": {"input": sound}}


async def append(connection: Any, data: bytes) -> None:
    await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())


async def send(connection: Any, request: Request) -> None:
    for data, finalize in request.packets():
        await append(connection, data)
        await asyncio.sleep(request.wait(data))
        if finalize:
            await connection.input_audio_buffer.commit()
    if request.hang_up:
        connection._connection.transport.abort()
    else:
        await connection.input_audio_buffer.commit()


async def talk(server: Running, request: Request, session: Any, turns: int) -> list[Any]:
    """What is told until so many turns are completed."""
    events = []
    async with client(server) as connected, connected.realtime.connect(
        extra_query={"intent": "transcription"}
    ) as connection:  # fmt: skip
        await connection.session.update(session=session)
        sending = asyncio.create_task(send(connection, request))
        with suppress(ConnectionClosedError):  # of a client that hangs up
            async for event in connection:
                events.append(event)
                turns -= event.type == f"{TRANSCRIPTION}.completed"
                if not turns:
                    break
        await sending
    return events


def told(event: Any) -> Told:
    if event.type == f"{TRANSCRIPTION}.delta":
        return Told("partial", event.delta)
    return Told("final", event.transcript, (), event.languages[0].code if event.languages else None)


def turns_of(server: Running, samples: NDArray[np.int16], cuts: list[int], **options: Any) -> Transcript:
    """What the engine makes of it, one segment for each turn that a commit or silence ends."""
    session = server.recognizer.engine.open(**options)
    events = []
    for begin, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        session.feed(samples[begin:end])
        session.finalize().result()
        events += [*session.take(), None]
    session.close()
    turns, finals = list[Segment](), list[Segment]()
    for event in events:
        if isinstance(event, Final):
            finals.append(event.segment)
        elif finals and (event is None or (options["endpointing_ms"] and isinstance(event, SpeechEnded))):
            text = Transcript(0, None, tuple(finals)).text
            turns.append(Segment(0, 0, text, next((one.language for one in finals if one.language), None), 1, ()))
            finals = []
    return Transcript(0, None, tuple(turns))


class TestCommits(Contract):
    """The client ends the turns."""

    whole_partials = answers = times = False

    def heard(self, server: Running, samples: NDArray[np.int16], language: str = "auto") -> Transcript:
        return turns_of(server, samples, [], language=language, endpointing_ms=None)

    def heard_in_two(self, server: Running, samples: NDArray[np.int16], middle: int) -> tuple[int, Transcript]:
        return 1, turns_of(server, samples, [middle], endpointing_ms=None)

    def converse(self, server: Running, request: Request) -> list[Told]:
        session = wanted() if request.language == "auto" else wanted(language=request.language)
        events = asyncio.run(talk(server, request, session, 1 + (request.finalize_at is not None)))
        kinds = {f"{TRANSCRIPTION}.completed"} | ({f"{TRANSCRIPTION}.delta"} if request.interim else set())
        return [told(event) for event in events if event.type in kinds]


class TestServerTurns(Contract):
    """Silence ends the turns; a commit, too."""

    whole_partials = answers = times = False

    def heard(self, server: Running, samples: NDArray[np.int16], language: str = "auto") -> Transcript:
        return turns_of(server, samples, [], language=language, endpointing_ms=500)

    def heard_in_two(self, server: Running, samples: NDArray[np.int16], middle: int) -> tuple[int, Transcript]:
        return 1, turns_of(server, samples, [middle], endpointing_ms=500)

    def converse(self, server: Running, request: Request) -> list[Told]:
        language: dict[str, Any] = {} if request.language == "auto" else {"language": request.language}
        session = wanted(turn_detection={"type": "server_vad", "silence_duration_ms": 500}, **language)
        whole = self.heard(server, request.samples, request.language)
        turns = max(1, len(whole.segments))
        if request.finalize_at is not None:
            turns = len(self.heard_in_two(server, request.samples, request.finalize_at)[1].segments)
        events = asyncio.run(talk(server, request, session, turns))
        check_turns(events)
        kinds = {f"{TRANSCRIPTION}.completed"} | ({f"{TRANSCRIPTION}.delta"} if request.interim else set())
        return [told(event) for event in events if event.type in kinds]


def check_turns(events: list[Any]) -> None:
    """An item begins, is told, stops, is committed and completed; each follows the one before."""
    stages = ["input_audio_buffer.speech_started", f"{TRANSCRIPTION}.delta", "input_audio_buffer.speech_stopped",
              "input_audio_buffer.committed", f"{TRANSCRIPTION}.completed"]  # fmt: skip
    events = [event for event in events if event.type in stages]
    items = list(dict.fromkeys(event.item_id for event in events))
    for item in items:
        of_item = [stages.index(event.type) for event in events if event.item_id == item]
        assert of_item == sorted(of_item)
    completed = [event.item_id for event in events if event.type == stages[-1]]
    assert completed == items[: len(completed)]
    previous = [event.previous_item_id for event in events if event.type == "input_audio_buffer.committed"]
    assert previous == [None, *items][: len(previous)]
    for event in events:
        if event.type == f"{TRANSCRIPTION}.completed":
            deltas = [one.delta for one in events if one.type == stages[1] and one.item_id == event.item_id]
            assert "".join(deltas).strip() == event.transcript
            assert event.usage.type == "duration"


@asynccontextmanager
async def connected(server: Running, key: str = "none", **options: Any) -> AsyncIterator[Any]:
    async with client(server, key) as connected, connected.realtime.connect(**options) as connection:
        created = await connection.recv()
        assert created.type == "session.created"
        yield connection


async def receive(connection: Any, kind: str) -> Any:
    async with asyncio.timeout(60):
        while (event := await connection.recv()).type != kind:
            assert event.type != "error", event
    return event


@pytest.mark.parametrize(
    ("name", "encoding", "rate"), [("pcm", "s16le", 24_000), ("pcmu", "mulaw", 8_000), ("pcma", "alaw", 8_000)]
)
async def test_formats(server: Running, speech: NDArray[np.int16], name: str, encoding: str, rate: int) -> None:
    data = speech[: 3 * RATE]
    data = np.repeat(data, 3)[::2] if rate == 24_000 else data[::2]
    audio = data.tobytes() if encoding == "s16le" else bytes(np.random.default_rng(0).integers(0, 256, len(data)))
    expected = server.recognizer.engine.open(endpointing_ms=None, latency_ms=560)
    reader = PlainReader(AudioFormat(encoding, rate))
    reader.hold(audio)
    expected.feed(reader.read())
    await expected.finalize()
    heard = Transcript(0, None, tuple(event.segment for event in expected.take() if isinstance(event, Final)))
    sound = {"format": {"type": f"audio/{name}"}, "turn_detection": None, "transcription": {"delay": "high"}}
    async with connected(server) as connection:
        await connection.session.update(session={"type": "transcription", "audio": {"input": sound}})
        await append(connection, audio)
        await connection.input_audio_buffer.commit()
        completed = await receive(connection, f"{TRANSCRIPTION}.completed")
    assert completed.transcript == heard.text
    expected.abort()


async def test_the_session_is_as_the_client_wants_it(server: Running) -> None:
    async with connected(server) as connection:
        for delay in ("minimal", "xhigh"):
            await connection.session.update(session=wanted(24_000, delay=delay, keywords=["Nemotron"], language="de"))
            updated = await receive(connection, "session.updated")
            transcription = updated.session.audio.input.transcription
            assert (transcription.delay, transcription.keywords, transcription.language) == (delay, ["Nemotron"], "de")
            assert updated.session.audio.input.turn_detection is None


def test_a_session_does_not_grow() -> None:
    """It keeps what it knows, and the last of each."""
    session = new_session()
    for number in range(3):
        update = {
            "transcription": {f"k{number}": "x" * 1000, "model": "tiny"},
            "noise_reduction": {"type": "near_field"},
        }
        session = updated(session, {"audio": {"input": update}})
    assert session["audio"]["input"]["transcription"] == {"model": "tiny", "language": None, "prompt": ""}
    assert session["audio"]["input"]["noise_reduction"] == {"type": "near_field"}
    nim = nim_session.updated(nim_session.new_session("tiny"), {"client_secret": 1, "extra": 2, "modalities": ["text"]})
    assert nim.keys() == nim_session.new_session("tiny").keys()


async def test_what_could_not_be_heard_is_named_before_there_is_audio(
    server: Running, speech: NDArray[np.int16]
) -> None:
    """And the connection goes on, with the session that it had."""
    async with connected(server) as connection:
        await connection.session.update(session=wanted(keywords=["x" * 201]))
        assert "201 characters" in (await receive(connection, "error")).error.message
        await connection.session.update(session=wanted(keywords=["", "Nemotron"]))
        await receive(connection, "session.updated")
        await append(connection, speech.tobytes())
        await connection.input_audio_buffer.commit()
        await receive(connection, f"{TRANSCRIPTION}.completed")


def test_delays_are_latencies() -> None:
    for delay, latency in {"minimal": 80, "low": 160, "medium": 320, "high": 560, "xhigh": 1120}.items():
        config = read(updated(new_session(), wanted(delay=delay, languages=["de", "en"], prompt="Ada, Bob")))
        assert config.changeable["latency_ms"] == latency
    assert config.changeable["languages"] == ["de", "en"]
    assert config.changeable["boost"] == {"Ada": 0.5, "Bob": 0.5}


async def test_the_session_changes_while_speaking(server: Running, speech: NDArray[np.int16]) -> None:
    async with connected(server) as connection:
        await connection.session.update(session=wanted())
        await append(connection, speech[:RATE].tobytes())
        await connection.session.update(session=wanted(delay="xhigh", language="de-DE", keywords=["Nemotron"]))
        await receive(connection, "session.updated")
        vad = {"type": "semantic_vad", "eagerness": "high"}
        await connection.session.update(session=wanted(turn_detection=vad))
        await receive(connection, "session.updated")
        await append(connection, speech.tobytes())
        started = await receive(connection, "input_audio_buffer.speech_started")
        assert started.audio_start_ms >= 1000
        await receive(connection, f"{TRANSCRIPTION}.completed")


async def test_a_locale_of_the_models_own(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fine-tuning adds it; the same in what is said of the model."""
    recognizer = server.recognizer
    config = replace(recognizer.config, prompts={**(recognizer.config.prompts or PROMPTS), "cy-GB": 120})
    monkeypatch.setattr(recognizer, "config", config)
    async with connected(server) as connection:
        await connection.session.update(session=wanted(language="cy-GB"))
        assert (await receive(connection, "session.updated")).session.audio.input.transcription.language == "cy-GB"
    async with client(server) as office:
        (model,) = (await office.models.list()).data
        assert model.to_dict()["languages"][-1] == "cy-GB"  # type: ignore[index]  # which is ours
        with pytest.raises(openai.BadRequestError, match="xx"):
            await office.realtime.client_secrets.create(session=wanted(language="xx"))


async def test_a_change_that_needs_another_stream_ends_the_turn(server: Running, speech: NDArray[np.int16]) -> None:
    async with connected(server) as connection:
        await connection.session.update(session=wanted())
        await append(connection, speech.tobytes())
        await connection.session.update(session=wanted(turn_detection={"type": "server_vad"}))
        committed = await receive(connection, "input_audio_buffer.committed")
        completed = await receive(connection, f"{TRANSCRIPTION}.completed")
        assert (completed.item_id, bool(completed.transcript)) == (committed.item_id, True)
        await receive(connection, "session.updated")


async def test_the_shortest_commits(server: Running, speech: NDArray[np.int16]) -> None:
    """Just 100 ms, however many there are; a sample less is none."""
    packet = 24_000 // 10
    data = np.repeat(speech, 3)[::2][: 40 * packet].tobytes()
    async with connected(server) as connection:
        await connection.session.update(session=wanted(24_000))
        for at in range(0, len(data), 2 * packet):
            await append(connection, data[at : at + 2 * packet])
            await connection.input_audio_buffer.commit()
        for _ in range(40):
            await receive(connection, f"{TRANSCRIPTION}.completed")
        await append(connection, bytes(2 * packet - 2))
        await connection.input_audio_buffer.commit()
        error = await receive(connection, "error")
    assert error.error.code == "input_audio_buffer_commit_empty"


async def test_what_is_cleared_is_not_told(server: Running, speech: NDArray[np.int16]) -> None:
    async with connected(server) as connection:
        await connection.session.update(session=wanted())
        await append(connection, speech[: 2 * RATE].tobytes())
        await connection.input_audio_buffer.clear()
        await receive(connection, "input_audio_buffer.cleared")
        await append(connection, bytes(RATE))
        await connection.input_audio_buffer.commit()
        completed = await receive(connection, f"{TRANSCRIPTION}.completed")
    assert completed.transcript == ""
    assert completed.usage.seconds == pytest.approx(0.5, abs=0.05)


async def test_what_is_cleared_behind_a_commit_is_not_told(server: Running, speech: NDArray[np.int16]) -> None:
    """Though the commit is not answered yet."""
    half = speech[: 2 * RATE].tobytes()
    async with connected(server) as connection:
        await connection.session.update(session=wanted())
        await append(connection, half)
        await connection.input_audio_buffer.commit()
        await append(connection, half)
        await connection.input_audio_buffer.clear()
        items, last = set(), ""
        while last != "input_audio_buffer.cleared":
            event = await connection.recv()
            last = event.type
            if last.startswith(TRANSCRIPTION):
                items.add(event.item_id)
        assert len(items) == 1
        await append(connection, bytes(RATE))
        await connection.input_audio_buffer.commit()
        completed = await receive(connection, f"{TRANSCRIPTION}.completed")
    assert completed.transcript == ""
    assert completed.item_id not in items


def wait_until_a_stream_is_open(server: Running) -> None:
    deadline = time.monotonic() + 30
    while not server.service.conversations and time.monotonic() < deadline:
        time.sleep(0.01)


def wait_until_no_stream_is_open(server: Running) -> None:
    deadline = time.monotonic() + 30
    while server.service.conversations and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.service.conversations


async def test_a_client_that_rests_has_no_stream(
    server: Running, speech: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_realtime, "REST", 0.2)
    async with connected(server) as connection:
        await connection.session.update(session=wanted())
        for _ in range(2):
            await append(connection, speech[: 2 * RATE].tobytes())
            await asyncio.to_thread(wait_until_a_stream_is_open, server)
            await asyncio.sleep(0.5)
            assert server.service.conversations
            await connection.input_audio_buffer.commit()
            completed = await receive(connection, f"{TRANSCRIPTION}.completed")
            assert completed.usage.seconds == 2.0
            await asyncio.to_thread(wait_until_no_stream_is_open, server)


async def test_a_client_that_has_gone_to_sleep(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_realtime, "REST", 0.05)
    monkeypatch.setattr(openai_realtime, "PATIENCE", 0.1)
    async with connected(server) as connection:
        event = await connection.recv()
        assert (event.type, event.error.code) == ("error", "timeout")
        with pytest.raises(ConnectionClosedError) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("message", "code", "parameter"),
    [
        ("no JSON", "invalid", None),
        ("[1]", "invalid", None),
        ({"type": "response.create", "event_id": "mine"}, "invalid", None),
        ({"type": "input_audio_buffer.append", "audio": "!", "event_id": "mine"}, "invalid", "audio"),
        ({"type": "input_audio_buffer.append", "audio": 7}, "invalid", "audio"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
        ({"type": "session.update", "session": 7}, "invalid", "session"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "invalid", "session.type"),
        ({"type": "session.update", "session": wanted(model="wav2vec")}, "model_not_found", "model"),
        ({"type": "session.update", "session": wanted(delay="soon")}, "invalid", "transcription.delay"),
        ({"type": "session.update", "session": wanted(language="xx")}, "invalid", "language"),
        ({"type": "session.update", "model": "gpt-4o-transcribe"}, "invalid", "session"),
        ({"type": "transcription_session.update"}, "invalid", "session"),
        ({"type": "session.update", "session": wanted(rate=7)}, "invalid", "sample_rate"),
        ({"type": "session.update", "session": wanted(turn_detection={"type": "x"})}, "invalid", "turn_detection.type"),
        ({"type": "transcription_session.update", "session": {"input_audio_format": "mp3"}}, "invalid", "audio_format"),
    ],
)
async def test_what_is_wrong_is_named(server: Running, message: Any, code: str, parameter: str | None) -> None:
    async with connected(server) as connection:
        await connection._connection.send(message if isinstance(message, str) else json.dumps(message))
        event = await connection.recv()
        assert (event.type, event.error.code) == ("error", code)
        assert event.error.event_id == (message.get("event_id") if isinstance(message, dict) else None)
        assert (event.error.param or "").endswith(parameter or "")
        await connection.session.update(session=wanted())
        await connection.recv()  # the connection goes on


@pytest.mark.parametrize(
    "asked",
    [
        {"additional_headers": {"OpenAI-Beta": "realtime=v1"}},
        {"subprotocols": [Subprotocol("realtime"), Subprotocol("openai-beta.realtime-v1")]},
    ],
)
async def test_the_shape_of_the_beta(server: Running, asked: dict[str, Any]) -> None:
    async with websockets.connect(f"{server.websocket}/v1/realtime?intent=transcription", **asked) as socket:
        assert json.loads(await socket.recv())["type"] == "transcription_session.created"
        transcription = {"model": "gpt-4o-transcribe", "language": "de"}
        session = {
            "input_audio_format": "g711_alaw",
            "input_audio_transcription": transcription,
            "turn_detection": None,
        }
        await socket.send(json.dumps({"type": "transcription_session.update", "session": session}))
        answer = json.loads(await socket.recv())
        assert answer["type"] == "transcription_session.updated"
        assert {name: answer["session"][name] for name in ("input_audio_format", "turn_detection")} == {
            "input_audio_format": "g711_alaw", "turn_detection": None,
        }  # fmt: skip
        audio = base64.b64encode(b"\xd5" * 4000).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        assert json.loads(await socket.recv())["type"] == "input_audio_buffer.committed"
        completed = json.loads(await socket.recv())
        assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(0.5, abs=0.05)}


def test_secrets_are_few_and_short() -> None:
    with running(max_connections=3) as server, httpx.Client(base_url=server.http, timeout=30) as anybody:
        address = "/v1/realtime/client_secrets"
        assert anybody.post(address, json={"session": {"include": ["x" * 70_000]}}).status_code == 413
        statuses = [anybody.post(address, json={}).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


async def test_secrets_for_browsers(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("hush\n")
    with running(api_key_file=str(tmp_path / "keys")) as server:
        async with client(server, "hush") as office:
            minted = await office.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60}, session=wanted(language="de")
            )
        url = f"{server.websocket}/v1/realtime"
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{minted.value}")]
        async with websockets.connect(url, subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"
            session = json.loads(await socket.recv())["session"]
            assert session["audio"]["input"]["transcription"]["language"] == "de"
        async with client(server, minted.value) as browser:
            with pytest.raises(openai.AuthenticationError):
                await browser.realtime.client_secrets.create()
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(url, subprotocols=[Subprotocol("openai-insecure-api-key.ek_none")])
        assert refused.value.response.status_code == 401
