"""Wyoming, through the `wyoming` package's own client."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, VadSensitivity
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient, AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping

from nemotron_asr.errors import OptionError
from nemotron_asr.server import connections, wyoming_client, wyoming_events
from nemotron_asr.transcript import Transcript as StreamEvent
from tests.server.conftest import Running, running
from tests.server.contract import RATE, Contract, Request, Told

START = AudioStart(RATE, 2, 1).event()
STOP = AudioStop().event()
SAY = {"transcript": "final", "transcript-chunk": "partial"}


def chunk(data: bytes) -> Event:
    return AudioChunk(RATE, 2, 1, data).event()


def spoken(samples: NDArray[np.int16], packet: int = 1600) -> list[Event]:
    return [chunk(data) for data, _ in Request(samples, packet).packets()]


async def send(client: AsyncTcpClient, request: Request) -> None:
    language = None if request.language == "auto" else request.language
    await client.write_event(Transcribe(language=language).event())
    await client.write_event(START)
    for data, _ in request.packets():
        await client.write_event(chunk(data))
        await asyncio.sleep(request.wait(data))
    await client.write_event(STOP)


async def converse(port: int, request: Request) -> list[Event]:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        sending = asyncio.create_task(send(client, request))
        if request.hang_up:
            await sending
            assert client._writer is not None
            client._writer.transport.abort()
            return []
        events = await until(client, "transcript-stop")
        await sending
        return events


async def until(client: AsyncClient, *last: str) -> list[Event]:
    """What the server says, up to one of these."""
    events: list[Event] = []
    while not events or events[-1].type not in {*last, "error"}:
        event = await asyncio.wait_for(client.read_event(), 60)
        if event is None:
            break
        events.append(event)
    return events


def ask(server: Running, events: Iterable[Event], *last: str) -> list[Event]:
    """What the server answers to these, up to one of `last`."""

    async def talk() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
            for event in events:
                await client.write_event(event)
            return await until(client, *last)

    return asyncio.run(talk())


def shout(server: Running, data: bytes) -> list[Event]:
    """What the server answers to these bytes, until it closes the connection."""

    async def talk() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
            assert client._writer is not None
            client._writer.write(data)
            events = []
            while (event := await asyncio.wait_for(client.read_event(), 60)) is not None:
                events.append(event)
            return events

    return asyncio.run(talk())


class TestWyoming(Contract):
    finalizes = times = whole_partials = False

    def converse(self, server: Running, request: Request) -> list[Told]:
        return [
            Told(
                "final" if event.type == "transcript" else "partial", event.data["text"], (), event.data.get("language")
            )
            for event in asyncio.run(converse(server.ports["wyoming"], request))
            if event.type in SAY and (request.interim or event.type == "transcript")
        ]

    def check(self, told: list[Told], transcript: StreamEvent) -> None:
        """One transcript is all that was said."""
        assert [one.text for one in told if one.kind == "final"] == [transcript.text]
        assert told[-1].language == transcript.language


def test_the_server_says_what_it_has(server: Running) -> None:
    (event,) = ask(server, [Describe().event()], "info")
    (program,) = Info.from_event(event).asr
    assert program.supports_transcript_streaming
    assert not program.requires_external_vad
    (model,) = program.models
    assert model.name == "tiny"
    assert {"de-DE", "en-US", "ja-JP"} <= set(model.languages)


def test_a_ping_is_answered(server: Running) -> None:
    (pong,) = ask(server, [Ping("there?").event()], "pong")
    assert pong.data == {"text": "there?"}


def test_chunks_are_the_transcript_piece_by_piece(server: Running, speech: NDArray[np.int16]) -> None:
    start, *chunks, transcript, stop = ask(server, [START, *spoken(speech), STOP], "transcript-stop")
    assert (start.type, transcript.type, stop.type) == ("transcript-start", "transcript", "transcript-stop")
    assert len(chunks) >= 2  # a segment each, at least
    text = "".join(TranscriptChunk.from_event(event).text for event in chunks)
    assert text == Transcript.from_event(transcript).text


def test_a_silence_ends_a_command_and_the_next_begins(server: Running, speech: NDArray[np.int16]) -> None:
    """The client never says that it is over, as Home Assistant does not when we need no detector of its own."""
    single = speech[: np.argmax(np.abs(speech) > 0) + 4 * RATE]

    async def talk() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
            await client.write_event(Transcribe(vad_sensitivity=VadSensitivity.AGGRESSIVE).event())
            answers, sending = asyncio.create_task(until(client, "transcript-stop")), [START, *spoken(single)]
            for event in [*sending, *spoken(np.zeros(10 * RATE, np.int16))]:
                await client.write_event(event)
                if answers.done():
                    break
                await asyncio.sleep(0.1 if event.payload else 0)
            events = await answers
            for event in [STOP, START, *spoken(single), STOP]:
                await client.write_event(event)
            return [*events, *await until(client, "transcript-stop")]

    texts = [event.data["text"] for event in asyncio.run(talk()) if event.type == "transcript"]
    assert len(texts) == 2
    assert all(texts)


def test_names_are_boosted(server: Running, speech: NDArray[np.int16]) -> None:
    boost = {"Zaphod": wyoming_events.NAME_WEIGHT, "Beeblebrox": wyoming_events.TERM_WEIGHT}
    wish = Transcribe(name="tiny", transcript_names=["Zaphod", " "], transcript_terms=["Beeblebrox"])
    assert wyoming_events.options_of(wish.event()) == {"model": "tiny", "boost": boost}
    transcript = ask(server, [wish.event(), START, *spoken(speech), STOP], "transcript")[-1]
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320, boost=boost)
    assert transcript.data["text"] == heard.text


def test_other_formats_of_samples(server: Running, speech: NDArray[np.int16]) -> None:
    stereo = np.repeat(speech.astype("<i4") << 16, 2).tobytes()
    events = [AudioChunk(RATE, 4, 2, stereo[at : at + 64_000]).event() for at in range(0, len(stereo), 64_000)]
    transcript = ask(server, [*events, STOP], "transcript")[-1]  # without audio-start, too
    assert transcript.data["text"] == server.recognizer.transcribe((speech, RATE), latency_ms=320).text


@pytest.mark.parametrize(
    ("events", "code", "words"),
    [
        ([STOP], "invalid", "audio-start"),
        ([START, START], "invalid", "audio-stop"),
        ([AudioStart(RATE, 5, 1).event()], "invalid", "width"),
        ([AudioStart(0, 2, 1).event()], "invalid", "rate"),
        ([AudioStart(RATE, 2, 100).event()], "invalid", "channels"),
        ([Event("audio-start", {"rate": "fast"})], "invalid", "rate"),
        ([START, AudioChunk(8000, 2, 1, b"ab").event()], "invalid", "format"),
        ([Transcribe(language="tlh").event(), START], "invalid", "tlh"),
        ([Transcribe(name="medium-int8").event(), START], "not_found", "medium-int8"),
        ([Transcribe(vad_sensitivity="wild").event()], "invalid", "wild"),
        ([Event("transcribe", {"language": 7})], "invalid", "language"),
        ([Event("transcribe", {"transcript_names": [7]})], "invalid", "transcript_names"),
        ([Transcribe(transcript_names=["long" * 100]).event(), START], "invalid", "400 characters"),
    ],
)
def test_what_is_wrong_is_told_and_ends_the_connection(
    server: Running, events: list[Event], code: str, words: str
) -> None:
    """Home Assistant waits for a transcript, or for the end, whatever else it is told."""
    *_, error = ask_to_the_end(server, events)
    assert error.type == "error"
    assert Error.from_event(error).code == code
    assert words in error.data["text"]


def ask_to_the_end(server: Running, events: Iterable[Event]) -> list[Event]:
    async def talk() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
            for event in events:
                await client.write_event(event)
            said: list[Event] = []
            while (event := await asyncio.wait_for(client.read_event(), 60)) is not None:
                said.append(event)
            return said

    return asyncio.run(talk())


def test_an_error_arrives_however_fast_the_client_is(server: Running) -> None:
    """What is still on its way to a connection that is closed would take the error away."""
    audio = [chunk(bytes(4096))] * 2000
    for _ in range(5):
        *_, error = ask_to_the_end(server, [Transcribe(name="medium-int8").event(), START, *audio])
        assert Error.from_event(error).code == "not_found"
    with running(max_session_seconds=1) as hasty:
        *_, error = ask_to_the_end(hasty, [START, *audio])
        assert Error.from_event(error).code == "too_large"


@pytest.mark.parametrize(("seconds", "most"), [(0.2, 1 << 30), (60.0, 1000)])
def test_who_goes_on_after_an_error_is_cut_off(
    server: Running, monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    monkeypatch.setattr(connections, "PARTING", seconds)
    monkeypatch.setattr(connections, "PARTING_BYTES", most)

    async def talk() -> None:
        async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client, asyncio.timeout(20):
            await client.write_event(STOP)
            while True:
                await client.write_event(chunk(bytes(2000)))
                await asyncio.sleep(0.05)

    with pytest.raises(ConnectionError):
        asyncio.run(talk())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\xff\xfe garbage\n", "invalid"),
        (b"[" * 60_000 + b"\n", "invalid"),
        (b"7\n", "invalid"),
        (b'{"type": 7}\n', "invalid"),
        (b'{"type": "describe", "data": []}\n', "invalid"),
        (b'{"type": "describe", "data_length": -1}\n', "invalid"),
        (b'{"type": "describe", "data_length": "many"}\n', "invalid"),
        (b'{"type": "describe", "data_length": 2}\n[]', "invalid"),
        (b"x" * 70_000, "too_large"),
        (b'{"type": "audio-chunk", "payload_length": 99999999999}\n', "too_large"),
    ],
)
def test_bytes_that_are_no_events(server: Running, data: bytes, code: str) -> None:
    (error,) = shout(server, data)
    assert error.data["code"] == code


def test_events_that_nobody_knows_are_passed_over(server: Running) -> None:
    (pong,) = ask(server, [Event("select-program", {"name": "x"}), Event("dance"), Ping().event()], "pong")
    assert pong.type == "pong"


def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch, silence: NDArray[np.int16]) -> None:
    monkeypatch.setattr(wyoming_client, "NOBODY", 0.5)
    with running(idle_seconds=1) as server:
        (error,) = shout(server, b'{"type": "descr')
        assert error.data["code"] == "timeout"
        sent = [START, *spoken(silence)]
        empty = ask(server, sent, "transcript")[-1]
        assert (empty.type, empty.data["text"]) == ("transcript", "")


def test_without_a_key_nobody_comes_in(tmp_path: Any) -> None:
    (tmp_path / "keys").write_text("secret")
    with running(api_key_file=str(tmp_path / "keys")) as server:
        assert ask(server, [Describe().event()], "info")[-1].type == "info"
        assert ask(server, [START], "transcript")[-1].data["code"] == "unauthenticated"


def test_it_can_be_left_out() -> None:
    with running(wyoming_port=-1) as server:
        assert "wyoming" not in server.ports


def test_a_socket_in_the_file_system(tmp_path: Path, speech: NDArray[np.int16]) -> None:
    path = tmp_path / "wyoming.sock"

    async def talk() -> list[Event]:
        async with AsyncClient.from_uri(f"unix://{path}") as client:
            for event in [START, *spoken(speech), STOP]:
                await client.write_event(event)
            return await until(client, "transcript")

    with socket.socket(socket.AF_UNIX) as left:  # by one that was killed
        left.bind(str(path))
    with running(wyoming_port=-1, wyoming_socket=str(path)) as server:
        transcript = asyncio.run(talk())[-1]
        heard = server.recognizer.transcribe((speech, RATE), latency_ms=320)
    assert transcript.data["text"] == heard.text
    assert not path.exists()


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(OptionError, match="notes: Address already in use"), running(wyoming_socket=f"{tmp_path}/notes"):
        pass
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_message_cut_at_every_byte_leaves_nothing(server: Running) -> None:
    whole = json.dumps({"type": "audio-start", "data": {"rate": RATE, "width": 2, "channels": 1}}).encode() + b"\n"
    for end in (1, len(whole) // 2, len(whole) - 1):
        hang_up(server, whole[:end])
    hang_up(server, whole + whole[:-1])
    wait(lambda: not server.service.conversations)


def hang_up(server: Running, data: bytes) -> None:
    async def talk() -> None:
        async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
            assert client._writer is not None
            client._writer.write(data)
            await client._writer.drain()

    asyncio.run(talk())


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
