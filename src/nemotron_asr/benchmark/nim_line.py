"""A client of a NIM container's realtime protocol, as thin as can be."""

import base64
import json
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection

from nemotron_asr.benchmark.lines import RealtimeLine, Told, broken
from nemotron_asr.config import SAMPLE_RATE

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Nim(RealtimeLine):
    """An open connection, known as one of NIM's by its first message."""

    closing = '{"type": "input_audio_buffer.done"}'

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.can_finalize = False
        self._asked = 0

    async def begin(self, latency_ms: int) -> None:
        """See `WebSocketLine`."""
        custom = f"latency_ms:{latency_ms}"
        session = {
            "input_audio_format": "pcm16", "input_audio_params": {"sample_rate_hz": SAMPLE_RATE, "num_channels": 1},
            "recognition_config": {"enable_word_time_offsets": True, "custom_configuration": custom},
        }  # fmt: skip
        await self._socket.send(json.dumps({"type": "transcription_session.update", "session": session}))

    async def send(self, packet: bytes) -> None:
        """See `Line`; a commit follows every packet."""
        await self._append(packet)

    async def finalize(self) -> None:
        """See `Line`; the answer is the next final, so that there is none where nothing has been said."""
        self._asked += 1
        await self._append(b"", runtime_config={"force_eou": "true"})

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        async for message in self._socket:
            event = json.loads(message)
            if event["type"] == "error":
                raise broken(event["error"]["code"], event["error"]["message"])
            if event["type"] == f"{_TRANSCRIPTION}.delta":
                self.can_finalize = True
                yield "partial", 0
            if event["type"] == f"{_TRANSCRIPTION}.completed":
                if event["is_last_result"]:
                    return
                self.can_finalize = False
                yield "final", len(event["words_info"]["words"])
                if self._asked:
                    self._asked -= 1
                    yield "finalized", 0

    async def _append(self, packet: bytes, **config: dict[str, str]) -> None:
        audio = base64.b64encode(packet).decode()
        await self._socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio, **config}))
        await self._socket.send('{"type": "input_audio_buffer.commit"}')
