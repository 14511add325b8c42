"""A NIM container's realtime protocol, through NVIDIA's own client."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from riva.client.realtime import RealtimeClientASR

from tests.conftest import Sample
from tests.server.conftest import Running, running
from tests.server.contract import RATE, Contract, Request, Told, as_int16
from tests.server.test_openai_http import as_wav

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


class Client(RealtimeClientASR):  # type: ignore[misc]  # the package has no types
    """Remembers what it is told."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.told: list[dict[str, Any]] = []

    async def connect(self) -> None:
        await super().connect()
        receive = self.websocket.recv

        async def recv() -> Any:
            data = await receive()
            self.told.append(json.loads(data))
            return data

        self.websocket.recv = recv


async def chunks(request: Request) -> AsyncIterator[bytes]:
    for data, _ in request.packets():
        yield data
        await asyncio.sleep(request.wait(data))


async def talk(request: Request, args: argparse.Namespace) -> Client:
    client = Client(args)
    try:
        await client.connect()
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
    return client


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
        events = asyncio.run(talk(request, arguments(server, language_code=language))).told
        said = [event for event in events if not event.get("is_last_result")]
        return [told(event) for event in said if request.interim or event["type"] == f"{TRANSCRIPTION}.completed"]


def test_the_last_result_is_the_whole_text(server: Running, speech: NDArray[np.int16]) -> None:
    client = asyncio.run(talk(Request(speech), arguments(server)))
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320)
    assert client.final_transcript == heard.text
    assert client.told[-1]["usage"] == {"type": "duration", "seconds": heard.duration}


def test_files_are_sent_as_they_are(server: Running, samples: list[Sample]) -> None:
    samples_of_it = as_int16(samples[0].audio)
    data = np.frombuffer(as_wav(samples_of_it), "<i2")
    client = asyncio.run(talk(Request(data, 2000), arguments(server, mic=False)))
    assert client.final_transcript == server.recognizer.transcribe((samples_of_it, RATE), latency_ms=320).text


def test_boosted_words(server: Running, speech: NDArray[np.int16]) -> None:
    args = arguments(server, boosted_lm_words=["Nemotron", "Frau Holle"], boosted_lm_score=4.0)
    client = asyncio.run(talk(Request(speech), args))
    boost = {"Nemotron": 1.0, "Frau Holle": 1.0}
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320, boost=boost)
    assert client.final_transcript == heard.text


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
        client = asyncio.run(talk(Request(silence), arguments(server, mint_api_key="hush")))
        assert client.told[-1]["is_last_result"]
