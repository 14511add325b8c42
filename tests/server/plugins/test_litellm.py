"""LiteLLM, unmodified, with our server behind it: by Riva's gRPC and by OpenAI's HTTP."""

from typing import Any

import litellm
import numpy as np
import pytest
from litellm.types.utils import TranscriptionResponse
from numpy.typing import NDArray

from tests.server.conftest import Running
from tests.server.contract import RATE, as_wav


@pytest.fixture
def recording(speech: NDArray[np.int16]) -> tuple[str, bytes]:
    return "speech.wav", as_wav(speech)


def through_riva(server: Running, recording: tuple[str, bytes]) -> dict[str, Any]:
    return {"model": "nvidia_riva/parakeet", "file": recording, "api_base": f"127.0.0.1:{server.ports['riva']}"}


def test_riva(server: Running, speech: NDArray[np.int16], recording: tuple[str, bytes]) -> None:
    wishes = {"response_format": "verbose_json", "timestamp_granularities": ["word"]}
    said = litellm.transcription(**through_riva(server, recording), language="de-DE", **wishes)
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320, language="de-DE")
    assert said.text == " ".join(segment.text for segment in heard.segments)
    words = heard.words
    assert [word["word"] for word in said["words"]] == [word.word for word in words]
    begins = [word["start"] for word in said["words"]]
    assert begins == [pytest.approx(word.start, abs=0.002) for word in words]


async def test_riva_async(server: Running, speech: NDArray[np.int16], recording: tuple[str, bytes]) -> None:
    said = await litellm.atranscription(**through_riva(server, recording), language="en-US")
    assert isinstance(said, TranscriptionResponse)
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320, language="en-US")
    assert said.text == " ".join(segment.text for segment in heard.segments)


def test_openai(server: Running, speech: NDArray[np.int16], recording: tuple[str, bytes]) -> None:
    said = litellm.transcription(
        model="openai/whisper-1", file=recording, api_base=f"{server.http}/v1", api_key="none", language="de"
    )
    assert said.text == server.recognizer.transcribe((speech, RATE), language="de").text
