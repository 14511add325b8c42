"""A client of OpenAI's realtime protocol, as thin as can be: its commits ask for the words so far."""

import base64
import json
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection

from nemotron_asr.benchmark.lines import RealtimeLine, Told, broken
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.server.openai_session import DELAYS

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class OpenAi(RealtimeLine):
    """An open connection, whose stream begins with the first audio."""

    finalizing = closing = '{"type": "input_audio_buffer.commit"}'

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self._asked, self._closed = 0, False

    async def begin(self, latency_ms: int) -> None:
        """See `WebSocketLine`."""
        delay = next(name for name, latency in DELAYS.items() if latency == latency_ms)
        sound = {
            "format": {"type": "audio/pcm", "rate": SAMPLE_RATE}, "turn_detection": None,
            "transcription": {"model": "gpt-4o-transcribe", "delay": delay},
        }  # fmt: skip
        session = {"type": "transcription", "audio": {"input": sound}}
        await self._socket.send(json.dumps({"type": "session.update", "session": session}))

    async def send(self, packet: bytes) -> None:
        """See `Line`."""
        audio = base64.b64encode(packet).decode()
        await self._socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))

    async def finalize(self) -> None:
        """See `Line`."""
        self._asked += 1
        await super().finalize()

    async def close(self) -> None:
        """See `Line`; the protocol knows no end, and the answer to the last commit is one."""
        self._asked, self._closed = self._asked + 1, True
        await super().close()

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        async for message in self._socket:
            event = json.loads(message)
            if event["type"] == f"{_TRANSCRIPTION}.delta":
                yield "partial", 0
            elif event["type"] in {f"{_TRANSCRIPTION}.completed", "error"}:
                _check(event.get("error"))
                yield "final", len(event.get("transcript", "").split())
                self._asked -= 1
                yield "finalized", 0
                if self._closed and not self._asked:
                    return


def _check(error: dict[str, str] | None) -> None:
    """Whether an error is only the answer to a commit of nothing."""
    if error is not None and error["code"] != "input_audio_buffer_commit_empty":
        raise broken(error["code"], error["message"])
