"""pipecat's and LiveKit's plugins for Riva, unmodified, with their own defaults."""

import asyncio

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import stt
from livekit.plugins import nvidia
from numpy.typing import NDArray
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.services.nvidia.stt import NvidiaSegmentedSTTService, NvidiaSTTService
from pipecat.tests.utils import SleepFrame, run_test

from tests.server.conftest import Running
from tests.server.contract import RATE, Request


@pytest.fixture
def said(speech: NDArray[np.int16]) -> NDArray[np.int16]:
    """Speech, and then silence, which ends it."""
    return np.concatenate([speech, np.zeros(2 * RATE, np.int16)])


def packets(samples: NDArray[np.int16]) -> list[bytes]:
    return [data for data, _ in Request(samples).packets()]


def address(server: Running) -> str:
    return f"127.0.0.1:{server.ports['riva']}"


async def test_pipecat(server: Running, said: NDArray[np.int16]) -> None:
    service = NvidiaSTTService(server=address(server), use_ssl=False, sample_rate=RATE)
    frames: list[Frame] = []
    for data in packets(said):
        frames += [InputAudioRawFrame(data, RATE, 1), SleepFrame(0.05)]
    down, _ = await run_test(service, frames_to_send=[*frames, SleepFrame(3.0)], start_timeout=30)
    finals = [frame.text.strip() for frame in down if isinstance(frame, TranscriptionFrame)]
    heard = server.recognizer.transcribe((said, RATE), latency_ms=320, language="en-US", endpointing_ms=320)
    assert finals == [segment.text for segment in heard.segments]
    assert any(isinstance(frame, InterimTranscriptionFrame) for frame in down)


async def test_pipecat_turn_by_turn(server: Running, speech: NDArray[np.int16]) -> None:
    """A turn is a recording."""
    service = NvidiaSegmentedSTTService(server=address(server), use_ssl=False, sample_rate=RATE)
    frames: list[Frame] = [SleepFrame(0.5), VADUserStartedSpeakingFrame()]
    for data in packets(speech):
        frames += [InputAudioRawFrame(data, RATE, 1), SleepFrame(0.02)]
    behind = [VADUserStoppedSpeakingFrame(), SleepFrame(3.0)]
    down, _ = await run_test(service, frames_to_send=[*frames, *behind], start_timeout=30)
    text = " ".join(frame.text.strip() for frame in down if isinstance(frame, TranscriptionFrame))
    assert text == server.recognizer.transcribe((speech, RATE), language="en-US").text


async def test_livekit(server: Running, said: NDArray[np.int16]) -> None:
    plugin = nvidia.STT(server=address(server), use_ssl=False, language_code="de-DE")
    stream = plugin.stream()
    for data in packets(said):
        stream.push_frame(rtc.AudioFrame(data, RATE, 1, len(data) // 2))
        await asyncio.sleep(0.02)
    stream.end_input()
    finals = [event async for event in stream if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT]
    heard = server.recognizer.transcribe((said, RATE), latency_ms=320, language="de-DE")
    assert [event.alternatives[0].text.strip() for event in finals] == [segment.text for segment in heard.segments]
    times = [(event.alternatives[0].start_time, event.alternatives[0].end_time) for event in finals]
    assert times == [pytest.approx((segment.start, segment.end), abs=0.002) for segment in heard.segments]
    await stream.aclose()
