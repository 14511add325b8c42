"""A client of Riva's StreamingRecognize, as thin as can be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from nemotron_asr.benchmark.lines import Line, RefusedError, Told
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.server.riva_messages import SERVICE, StreamingRequest, StreamingResponse

LINEAR_PCM = 1

CONNECTING = 10
"""Seconds."""

NO_ROOM = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
"""What a server says who lets nobody more in: by its capacity, by its key."""

Call = Any  # grpc's own type of a call in both directions has no public name


class Riva(Line):
    """An open call."""

    def __init__(self, call: Call) -> None:
        self._call, self._asked = call, 0
        self._let_in = False

    @classmethod
    @asynccontextmanager
    async def open(cls, server: str, latency_ms: int, key: str) -> AsyncIterator[Line]:
        """Connect to `HOST:PORT`."""
        headers = [("authorization", f"Bearer {key}")] if key else []
        async with grpc.aio.insecure_channel(server) as channel:
            async with asyncio.timeout(CONNECTING):
                await channel.channel_ready()  # so that nobody who cannot be reached seems to have no room
            stream = channel.stream_stream(
                f"/{SERVICE}/StreamingRecognize",
                request_serializer=StreamingRequest.SerializeToString,
                response_deserializer=StreamingResponse.FromString,
            )
            line = cls(stream(metadata=headers))
            await line.configure(latency_ms)
            yield line

    async def configure(self, latency_ms: int) -> None:
        """The first message: what will be sent, and how it is to be heard."""
        request = StreamingRequest()
        request.streaming_config.interim_results = True
        config = request.streaming_config.config
        config.encoding, config.sample_rate_hertz, config.language_code = LINEAR_PCM, SAMPLE_RATE, "multi"
        config.audio_channel_count, config.enable_word_time_offsets = 1, True
        config.custom_configuration["latency_ms"] = str(latency_ms)
        await self._write(request)

    async def send(self, packet: bytes) -> None:
        """See `Line`."""
        await self._write(StreamingRequest(audio_content=packet))

    async def finalize(self) -> None:
        """See `Line`; the answer is the next final."""
        self._asked += 1
        await self._write(StreamingRequest(audio_content=b"", runtime_config={"force_eou": "true"}))

    async def close(self) -> None:
        """See `Line`."""
        await self._call.done_writing()

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        try:
            async for answer in self._call:
                self._let_in = True
                for result in answer.results:
                    yield ("final" if result.is_final else "partial"), len(result.alternatives[0].words)
                    if result.is_final and self._asked:
                        self._asked -= 1
                        yield "finalized", 0
        except grpc.aio.AioRpcError:
            raise await self._ended() from None

    async def _write(self, request: StreamingRequest) -> None:
        try:
            await self._call.write(request)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):  # the first one once the call is known to be over
            raise await self._ended() from None

    async def _ended(self) -> ConnectionError:
        """Why the server ended the call."""
        code = await self._call.code()
        kind = RefusedError if code in NO_ROOM and not self._let_in else ConnectionError
        return kind(f"{code.name}: {await self._call.details()}")
