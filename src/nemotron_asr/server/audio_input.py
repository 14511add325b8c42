"""Bytes of any format on their way into a stream: read here if they are plain, otherwise decoded elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np

from nemotron_asr.audio import Samples
from nemotron_asr.audio.pcm import Array
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import NemotronError
from nemotron_asr.server.formats import (
    AUTO,
    CONTAINER,
    ENOUGH,
    AudioFormat,
    PlainReader,
    index_is_last,
    looks_like_container,
)
from nemotron_asr.server.media import Decoders, Decoding
from nemotron_asr.server.problems import invalid
from nemotron_asr.server.spool import Spool, spooled
from nemotron_asr.server.wav import is_wav, read_header

Hear = Callable[[Array], Awaitable[None]]

LONGEST_HEAD = 1 << 16
"""Bytes of an MP4 among which its index or its samples begin, if it can be heard while it comes."""


class AudioInput:
    """What is fed as bytes is heard as samples at 16 kHz.

    Args:
        form: what the bytes are.
        decoders: for those that are not plain.
        most: bytes of a file that can be heard only when all of it has come.
        hear: takes samples; waits while the engine is busy.
        wanted: how many samples it takes for something new to be heard. Fewer are held back, for what is done with a
            packet costs the same however short it is.
        ended: called when all samples were heard.
        failed: called with what went wrong behind the back of whoever feeds.
        recording: a player may play it, by its container's clock.
    """

    def __init__(
        self, form: AudioFormat, decoders: Decoders, most: int, hear: Hear, wanted: Callable[[], int],
        ended: Callable[[], None], failed: Callable[[NemotronError], None], *, recording: bool,
    ) -> None:  # fmt: skip
        self._recording = recording
        self._form, self._decoders, self._most = form, decoders, most
        self._hear, self._wanted, self._ended, self._failed = hear, wanted, ended, failed
        self._head = b""
        self._left: int | None = None  # bytes of samples that a WAV header announced
        self._plain: PlainReader | None = None
        self._decoding: Decoding | None = None
        self._spool: Spool | None = None  # what it will decode, when all has come
        self._decoded: list[Samples] = []  # what is held back of it
        self._pouring: asyncio.Task[None] | None = None
        self._resources = AsyncExitStack()
        if form.encoding not in {AUTO, CONTAINER}:
            self._plain = PlainReader(form)

    async def feed(self, data: bytes) -> None:
        """Take bytes, cut anywhere.

        Raises:
            NemotronError: they are not usable.
        """
        if self._plain is None and self._decoding is None:
            self._head += data
            if not await self._look(whole=False):
                return
            data, self._head = self._head, b""
        if self._plain is not None:
            self._plain.hold(self._announced(data))
            if self._plain.held >= self._wanted():
                await self._hear(self._plain.read())
        elif self._spool is not None:
            await self._spool.write(data)
        elif self._decoding is not None:
            await self._decoding.write(data)

    @property
    def held(self) -> float:
        """Seconds that are held back."""
        return (self._plain.held if self._plain is not None else sum(map(len, self._decoded))) / SAMPLE_RATE

    async def rest(self) -> Array:
        """What is held back of all that was fed, to be heard now."""
        if self._decoding is not None:
            await self._decoding.taken()
        return self._plain.read() if self._plain is not None else self._read_decoded()

    async def play(self, path: str) -> None:
        """Hear a file, whatever it is, to its end.

        Raises:
            NemotronError: it is not usable.
        """
        async with self._decoders.decoding() as decoding:
            decoding.begin(path, self._form.channel)
            decoding.end()
            async for samples in decoding:
                await self._hear(samples)
        self._ended()

    async def close(self) -> None:
        """No more bytes."""
        if self._plain is None and self._decoding is None:
            await self._look(whole=True)
            data, self._head = self._head, b""
            await self.feed(data)
        if self._plain is not None:
            await self._hear(self._plain.finish())
            self._ended()
        elif self._decoding is not None:
            if self._spool is not None:
                await self._spool.close()
                self._decoding.begin(self._spool.path, self._form.channel)
            self._decoding.end()

    async def release(self) -> None:
        """Leave nothing behind."""
        if self._pouring is not None:
            self._pouring.cancel()
            await asyncio.wait([self._pouring])
        await self._resources.aclose()

    def _announced(self, data: bytes) -> bytes:
        """What belongs to the samples: other things may follow them in a file."""
        if self._left is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        return data

    async def _look(self, *, whole: bool) -> bool:
        """Find out what the bytes are, and whether that is possible yet."""
        head = self._head
        if len(head) < ENOUGH and not whole:
            return False
        if is_wav(head):
            header = read_header(head, self._form)
            if header is None and whole:
                raise invalid("the WAV file ends before its samples begin")
            if header is None:
                return False
            if header.form is not None:
                self._head, self._left = head[header.start :], header.length
                self._plain = PlainReader(header.form)
                return True
        if self._form.encoding == CONTAINER or is_wav(head) or looks_like_container(head):
            when_whole = index_is_last(head)
            if when_whole is None and len(head) < LONGEST_HEAD and not whole:
                return False
            await self._decode(when_whole=when_whole is not False)
        else:
            self._plain = PlainReader(replace(self._form, encoding="s16le"))
        return True

    async def _decode(self, *, when_whole: bool) -> None:
        self._decoding = await self._resources.enter_async_context(self._decoders.decoding_live())
        if when_whole:
            self._spool = await self._resources.enter_async_context(spooled(self._most))
        else:
            self._decoding.begin(channel=self._form.channel, on_time=self._recording)
        self._pouring = asyncio.create_task(self._pour(self._decoding))

    async def _pour(self, decoding: Decoding) -> None:
        try:
            async for samples in decoding:
                self._decoded.append(samples)
                if sum(map(len, self._decoded)) >= self._wanted():
                    await self._hear(self._read_decoded())
            await self._hear(self._read_decoded())
        except NemotronError as error:
            self._failed(error)
        else:
            self._ended()

    def _read_decoded(self) -> Samples:
        whole = np.concatenate([np.empty(0, np.float32), *self._decoded])
        self._decoded.clear()
        return whole
