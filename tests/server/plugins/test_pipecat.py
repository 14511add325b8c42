"""pipecat's services for Deepgram and OpenAI, unmodified, with our server behind them."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.tests.utils import SleepFrame, run_test

from tests.conftest import Sample
from tests.server.conftest import Running
from tests.server.contract import RATE, Request, as_int16


@pytest.fixture
def said(samples: list[Sample]) -> NDArray[np.int16]:
    return as_int16(samples[0].audio)


async def heard_by(service: Any, samples: NDArray[np.int16], *behind: Frame) -> Sequence[Frame]:
    """The frames that a service makes of a recording, and of what follows it, in half of real time."""
    frames: list[Frame] = [SleepFrame(0.5), VADUserStartedSpeakingFrame()]
    for data, _ in Request(samples).packets():
        frames += [InputAudioRawFrame(data, RATE, 1), SleepFrame(0.05)]
    down, _ = await run_test(service, frames_to_send=[*frames, *behind, SleepFrame(3.0)], start_timeout=60)
    return down


def finals(frames: Sequence[Frame]) -> list[TranscriptionFrame]:
    return [frame for frame in frames if isinstance(frame, TranscriptionFrame)]


async def test_deepgram(server: Running, said: NDArray[np.int16]) -> None:
    """Its own turn detector asks for the words so far; the answer says that it is one."""
    service = DeepgramSTTService(api_key="none", base_url=server.websocket, sample_rate=RATE)
    down = await heard_by(service, said, VADUserStoppedSpeakingFrame())
    heard = server.recognizer.transcribe((said, RATE), latency_ms=320, language="en")
    assert [frame.text for frame in finals(down)] == [segment.text for segment in heard.segments]
    assert finals(down)[-1].finalized
    assert any(isinstance(frame, InterimTranscriptionFrame) for frame in down)


@pytest.mark.parametrize("turns", [False, {"type": "server_vad"}])
async def test_openai_realtime(server: Running, said: NDArray[np.int16], turns: Any) -> None:
    """Turns end as its own detector says, or as our server does."""
    settings = OpenAIRealtimeSTTService.Settings(delay="medium")
    url = f"{server.websocket}/v1/realtime"
    service = OpenAIRealtimeSTTService(api_key="none", base_url=url, turn_detection=turns, settings=settings)
    silence = InputAudioRawFrame(bytes(2 * 2 * RATE), RATE, 1)
    down = await heard_by(service, said, silence if turns else VADUserStoppedSpeakingFrame())
    text = " ".join(frame.text for frame in finals(down))
    heard = server.recognizer.transcribe((said, RATE), latency_ms=320, language="en").text
    assert SequenceMatcher(None, text, heard).ratio() > 0.6  # the audio was resampled, to 24 kHz and back
    told = "".join(frame.text for frame in down if isinstance(frame, InterimTranscriptionFrame))
    assert "".join(told.split()) == "".join(text.split())  # a word may go on in the next final


async def test_openai(server: Running, said: NDArray[np.int16]) -> None:
    """A turn is a recording: all that was said up to its end, and a little from before it."""
    service = OpenAISTTService(api_key="none", base_url=f"{server.http}/v1", sample_rate=RATE)
    down = await heard_by(service, said, VADUserStoppedSpeakingFrame())
    heard = server.recognizer.transcribe((said, RATE), language="en")
    assert [frame.text for frame in finals(down)] == [heard.text]
