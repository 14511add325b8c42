"""LiveKit's plugins for Deepgram and OpenAI, unmodified, with our server behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import SequenceMatcher
from typing import Any

import aiohttp
import numpy as np
import pytest
from livekit import rtc
from livekit.agents import stt, utils
from livekit.plugins import deepgram, openai
from numpy.typing import NDArray

from tests.conftest import Sample
from tests.server.conftest import Running
from tests.server.contract import RATE, as_int16


@pytest.fixture
def speech(samples: list[Sample]) -> NDArray[np.int16]:
    return np.concatenate([as_int16(samples[0].audio), np.zeros(2 * RATE, np.int16)])


@asynccontextmanager
async def streaming(plugin: stt.STT, samples: NDArray[np.int16]) -> AsyncIterator[Any]:
    async with plugin.stream() as stream:
        for begin in range(0, len(samples), RATE // 10):
            packet = samples[begin : begin + RATE // 10]
            stream.push_frame(rtc.AudioFrame(packet.tobytes(), RATE, 1, len(packet)))
        stream.end_input()
        yield stream


async def said(plugin: stt.STT, samples: NDArray[np.int16], until: stt.SpeechEventType) -> list[str]:
    """The words of all finals until something happens."""
    words = list[str]()
    async with streaming(plugin, samples) as stream:
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                words += event.alternatives[0].text.split()
            if event.type == until:
                break
    return words


async def test_deepgram(server: Running, speech: NDArray[np.int16]) -> None:
    async with aiohttp.ClientSession() as session:
        plugin = deepgram.STT(
            base_url=f"{server.http}/v1/listen", api_key="none", http_session=session, language="multi",
            endpointing_ms=800,
        )  # fmt: skip
        words = await said(plugin, speech, stt.SpeechEventType.END_OF_SPEECH)
    assert words == server.recognizer.transcribe((speech, RATE), latency_ms=320).text.split()


async def test_openai_realtime(server: Running, speech: NDArray[np.int16]) -> None:
    turns = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 800}
    plugin = openai.STT(
        base_url=f"{server.http}/v1", api_key="none", use_realtime=True, model="gpt-4o-mini-transcribe",
        language="de", turn_detection=turns,
    )  # fmt: skip
    async with utils.http_context.open():
        words = await said(plugin, speech, stt.SpeechEventType.FINAL_TRANSCRIPT)
        await plugin.aclose()
    first, *_ = server.recognizer.transcribe((speech, RATE), latency_ms=320, language="de").segments
    assert SequenceMatcher(None, " ".join(words), first.text).ratio() > 0.6  # it was resampled, to 24 kHz and back
