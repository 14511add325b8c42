"""A NIM container's realtime protocol, through NVIDIA's own client."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray
from riva.client.realtime import RealtimeClientASR
from websockets.exceptions import ConnectionClosedError
from websockets.typing import Subprotocol

from tests.conftest import Sample
from tests.server.conftest import Running, running
from tests.server.contract import RATE, Contract, Request, Told, as_int16, as_wav

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def arguments(server: Running, **options: Any) -> argparse.Namespace:
    """What the client's own script has on its command line."""
    unset = dict.fromkeys(("start_history", "start_threshold", "stop_history", "stop_threshold"), -1)
    return argparse.Namespace(
        **{
            **unset, "stop_history_eou": -1, "stop_threshold_eou": -1, "server": server.http.removeprefix("http://"),
            "endpoint": "/v1/realtime", "query_params": "intent=transcription", "use_ssl": False, "mic": True,
            "ssl_client_cert": None, "ssl_client_key": None, "ssl_root_cert": None, "word_time_offsets": True,
            "sample_rate_hz": RATE, "num_channels": 1, **options,
        }
    )  # fmt: skip


@dataclass
class Said:
    """What a client was told.

    Attributes:
        final: what it takes for the transcript.
        events: all of it, the beginning left out.
    """

    final: str
    events: list[dict[str, Any]]


def remember(client: RealtimeClientASR) -> list[dict[str, Any]]:
    """What the client receives from now on."""
    events, receive = list[dict[str, Any]](), client.websocket.recv

    async def recv() -> Any:
        data = await receive()
        events.append(json.loads(data))
        return data

    client.websocket.recv = recv
    return events


async def chunks(request: Request) -> AsyncIterator[bytes]:
    for data, _ in request.packets():
        yield data
        await asyncio.sleep(request.wait(data))


async def talk(request: Request, args: argparse.Namespace) -> Said:
    client = RealtimeClientASR(args)
    try:
        await client.connect()
        events = remember(client)
        forced = [finalize for _, finalize in request.packets()]
        receiving = asyncio.create_task(client.receive_responses())
        await client.send_audio_chunks(chunks(request), forced)
        if request.hang_up:
            client.websocket.transport.abort()
            receiving.cancel()
        else:
            await receiving
    finally:
        await client.disconnect()
    return Said(client.final_transcript, events)


def told(event: dict[str, Any]) -> Told:
    if event["type"] == f"{TRANSCRIPTION}.delta":
        return Told("partial", event["delta"])
    words = event["words_info"]["words"]
    return Told(
        "final",
        event["transcript"],
        tuple((word["word"], word["start_time"] / 1000, word["end_time"] / 1000) for word in words),
    )


class TestRealtime(Contract):
    whole_partials = answers = tells_language = False

    def converse(self, server: Running, request: Request) -> list[Told]:
        language = "" if request.language == "auto" else request.language
        events = asyncio.run(talk(request, arguments(server, language_code=language))).events
        events = [event for event in events if not event.get("is_last_result")]
        return [told(event) for event in events if request.interim or event["type"] == f"{TRANSCRIPTION}.completed"]


def test_the_last_result_is_the_whole_text(server: Running, speech: NDArray[np.int16]) -> None:
    said = asyncio.run(talk(Request(speech), arguments(server)))
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320)
    assert said.final == heard.text
    assert said.events[-1]["usage"] == {"type": "duration", "seconds": heard.duration}


def test_files_are_sent_as_they_are(server: Running, samples: list[Sample]) -> None:
    samples_of_it = as_int16(samples[0].audio)
    data = np.frombuffer(as_wav(samples_of_it), "<i2")
    said = asyncio.run(talk(Request(data, 2000), arguments(server, mic=False)))
    assert said.final == server.recognizer.transcribe((samples_of_it, RATE), latency_ms=320).text


def test_boosted_words(server: Running, speech: NDArray[np.int16]) -> None:
    args = arguments(server, boosted_lm_words=["Nemotron", "Frau Holle"], boosted_lm_score=4.0)
    said = asyncio.run(talk(Request(speech), args))
    boost = {"Nemotron": 1.0, "Frau Holle": 1.0}
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320, boost=boost)
    assert said.final == heard.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"language_code": "xx"},
        {"model_name": "gpt-7"},
        {"sample_rate_hz": 7},
        {"speaker_diarization": True},
        {"profanity_filter": True},
        {"custom_configuration": "latency_ms:90"},
    ],
)
def test_a_session_is_refused(server: Running, wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="Failed to update session"):
        asyncio.run(talk(Request(np.zeros(RATE, np.int16)), arguments(server, **wrong)))


def test_an_api_key_is_required(tmp_path: Path, silence: NDArray[np.int16]) -> None:
    (tmp_path / "keys").write_text("hush\n")
    with running(api_key_file=str(tmp_path / "keys")) as server:
        with pytest.raises(Exception, match="an API key is required"):
            asyncio.run(talk(Request(silence), arguments(server)))
        said = asyncio.run(talk(Request(silence), arguments(server, mint_api_key="hush")))
        assert said.events[-1]["is_last_result"]


async def test_clients_without_a_secret_are_known_by_their_first_message(server: Running) -> None:
    async with websockets.connect(f"{server.websocket}/v1/realtime?intent=transcription") as socket:
        await socket.recv()
        params = {"sample_rate_hz": 8000, "num_channels": 1}
        session = {"input_audio_format": "g711_ulaw", "input_audio_params": params}
        await socket.send(json.dumps({"type": "transcription_session.update", "session": session}))
        updated = json.loads(await socket.recv())
        assert updated["type"] == "transcription_session.updated"
        assert updated["session"]["input_audio_params"] == params
        await socket.send('{"type": "input_audio_buffer.done"}')
        assert json.loads(await socket.recv())["is_last_result"]


def mint(server: Running) -> Any:
    session = httpx.post(f"{server.http}/v1/realtime/transcription_sessions", json={}, timeout=30).json()
    return session["client_secret"]["value"]


async def test_connections_may_follow_each_other_quickly() -> None:
    """Each asks for a secret, which is forgotten when it has served."""
    with running(max_connections=2) as server:
        for _ in range(5):
            secret = await asyncio.to_thread(mint, server)
            offered = [Subprotocol("realtime"), Subprotocol(f"realtime-token.{secret}")]
            async with websockets.connect(f"{server.websocket}/v1/realtime", subprotocols=offered) as socket:
                assert json.loads(await socket.recv())["type"] == "conversation.created"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("garbage", "not JSON"),
        ('{"type": "response.create"}', "'response.create' is unknown"),
        ('{"type": "input_audio_buffer.append", "audio": "%"}', "not base64"),
        ('{"type": "transcription_session.update", "session": []}', "session is not an object"),
        ('{"type": "transcription_session.update", "session": {"input_audio_params": 7}}', "is not an object"),
        ('{"type": "transcription_session.update", "session": {"input_audio_format": "mp3"}}', "'mp3' is not offered"),
    ],
)
async def test_what_is_wrong_ends_the_connection(server: Running, message: str, said: str) -> None:
    secret = await asyncio.to_thread(mint, server)
    offered = [Subprotocol("realtime"), Subprotocol(f"realtime-token.{secret}")]
    async with websockets.connect(f"{server.websocket}/v1/realtime", subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(await socket.recv())["type"] == "conversation.created"
        await socket.send(message)
        event = json.loads(await socket.recv())
        assert event["type"] == "error"
        assert said in event["error"]["message"]
        with pytest.raises(ConnectionClosedError) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
