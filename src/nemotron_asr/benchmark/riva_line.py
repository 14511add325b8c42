"""A client of Riva's StreamingRecognize, as thin as can be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from nemotron_asr.benchmark.lines import Line, Told
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.server.riva_messages import SERVICE, StreamingRequest, StreamingResponse

LINEAR_PCM = 1

Call = Any  # grpc's own type of a call in both directions has no public name


class Riva(Line):
    """An open call."""

    def __init__(self, call: Call) -> None:
        self._call, self._asked = call, 0

    @classmethod
    @asynccontextmanager
    async def open(cls, server: str, latency_ms: int, key: str) -> AsyncIterator[Line]:
        """Connect to `HOST:PORT`."""
        headers = [("authorization", f"Bearer {key}")] if key else []
        async with grpc.aio.insecure_channel(server) as channel:
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
        await self._call.write(request)

    async def send(self, packet: bytes) -> None:
        """See `Line`."""
        await self._call.write(StreamingRequest(audio_content=packet))

    async def finalize(self) -> None:
        """See `Line`; the answer is the next final."""
        self._asked += 1
        await self._call.write(StreamingRequest(audio_content=b"", runtime_config={"force_eou": "true"}))

    async def close(self) -> None:
        """See `Line`."""
        await self._call.done_writing()

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        try:
            async for answer in self._call:
                for result in answer.results:
                    yield ("final" if result.is_final else "partial"), len(result.alternatives[0].words)
                    if result.is_final and self._asked:
                        self._asked -= 1
                        yield "finalized", 0
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(f"{error.code().name}: {error.details()}") from None
