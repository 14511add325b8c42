"""One client of Wyoming: a voice command or a recording in, its words out as they come, then the whole.

A command ends with `audio-stop`, or when its speaker does: we say that we need no voice activity detector outside
(`requires_external_vad`). What comes faster than time passes is no microphone; it ends with `audio-stop` only.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Info
from wyoming.ping import Ping, Pong

from nemotron_asr import __version__
from nemotron_asr.events import Final, SpeechEnded
from nemotron_asr.languages import AUTO
from nemotron_asr.server.connections import part
from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.openai_shapes import Deltas
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.sides import tasks
from nemotron_asr.server.wyoming_events import format_of, options_of, read_event

PROTOCOL = "wyoming"

AHEAD = 1.0
"""Seconds by which a microphone's audio may be ahead of the time that has passed: what it kept before it was heard."""

FOREIGN_MODELS = ("*whisper*", "auto")
"""Names that are set up for other services."""

NOBODY = 15.0
"""Seconds after which a command is over in which nobody has spoken."""

_US = Attribution(name="nemotron-asr", url="https://pypi.org/project/nemotron-asr/")


@dataclass
class _Command:
    """A voice command, or a recording: from `audio-start` to its transcript.

    Attributes:
        heard: somebody has spoken.
        stopped: the client has said that it is over.
    """

    conversation: Conversation
    form: AudioFormat
    began: float = field(default_factory=time.monotonic)
    heard: bool = False
    stopped: bool = False

    @property
    def live(self) -> bool:
        """Whether it comes as a microphone's does, and a silence may end it."""
        return not self.stopped and self.conversation.duration <= time.monotonic() - self.began + AHEAD


class Client:
    """One connection; any number of commands, one after the other, until something goes wrong.

    An error is the last event: Home Assistant passes over it, and knows by the end alone that no transcript will come.
    """

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service, self._reader, self._writer = service, reader, writer
        self._options = dict[str, Any]()  # of the next command
        self._command: _Command | None = None
        self._telling: asyncio.Task[None] | None = None
        self._deaf = False  # what comes belongs to a command that is over

    async def serve(self) -> None:
        """Answer until the client goes away, reads nothing any more, or cannot be understood any more."""
        with suppress(ConnectionError):
            try:
                async with tasks() as self._tasks:
                    await self._listen()
            except Problem as problem:
                await self._write(Error(str(problem), problem.kind.word).event())
                await part(self._reader, self._writer)

    async def _listen(self) -> None:
        while (event := await self._read()) is not None:
            with self._service.refusing(PROTOCOL):
                await self._take(event)
        if self._telling is not None:
            self._telling.cancel()

    async def _read(self) -> Event | None:
        """The next event. What cannot be understood ends the stream of a command, or is refused where there is none."""
        if self._command is not None:
            return await read_event(self._reader, self._service.settings)
        with self._service.refusing(PROTOCOL):
            return await read_event(self._reader, self._service.settings)

    async def _take(self, event: Event) -> None:
        """Do what an event asks for; those that nobody knows are passed over, as the protocol has it."""
        match event.type:
            case "describe":
                await self._write(describe(self._service))
            case "ping":
                await self._write(Pong(Ping.from_event(event).text).event())
            case "transcribe":
                self._options = options_of(event)
            case "audio-start":
                await self._begin(event)
            case "audio-chunk" if not self._deaf:
                command = self._command or await self._begin(event)  # some clients do without audio-start
                await self._feed(command, event)
            case "audio-stop":
                await self._stop()

    async def _begin(self, event: Event) -> _Command:
        if self._command is not None:
            raise invalid("audio-start came before the audio-stop of the last one")
        if self._telling is not None:
            await self._telling
        form, options, self._options = format_of(event), self._options, {}
        key = self._service.authenticate(None, PROTOCOL)
        conversation = await self._service.open(key, PROTOCOL, form, foreign=FOREIGN_MODELS, **options)
        self._command, self._deaf = _Command(conversation, form), False
        self._telling = self._tasks.create_task(self._tell(self._command))
        await asyncio.sleep(0)  # who tells is inside the conversation now, and leaves it when cancelled
        return self._command

    async def _feed(self, command: _Command, event: Event) -> None:
        if format_of(event) != command.form:
            raise invalid("an audio-chunk has another format than its audio-start")
        with suppress(Problem):  # who tells the words tells this, too
            await command.conversation.feed(event.payload or b"")
            if command.live and not command.heard and command.conversation.duration > NOBODY:
                self._command, self._deaf = None, True
                await command.conversation.close()

    async def _stop(self) -> None:
        if self._command is not None and self._telling is not None:
            self._command.stopped = True
            with suppress(Problem):
                await self._command.conversation.close()
            await self._telling
        elif not self._deaf:
            raise invalid("audio-stop came before audio-start")
        self._deaf = False

    async def _tell(self, command: _Command) -> None:
        deltas, finals, conversation = Deltas(), list[Final](), command.conversation
        async with conversation:
            async for event in conversation:
                if delta := deltas.of(event):
                    await self._tell_words(command, delta)
                if isinstance(event, Final):
                    finals.append(event)
                if isinstance(event, SpeechEnded) and command.live:
                    break
            self._command, self._deaf = None, True
        transcript = conversation.transcript_of(finals)
        await self._tell_words(command)
        await self._write(Transcript(transcript.text, language=transcript.language).event())
        await self._write(TranscriptStop().event())

    async def _tell_words(self, command: _Command, delta: str = "") -> None:
        """Words that are new; before the first ones, that they begin."""
        if not command.heard:
            command.heard = True
            language = command.conversation.language
            await self._write(TranscriptStart(language=None if language == AUTO else language).event())
        if delta:
            await self._write(TranscriptChunk(delta).event())

    async def _write(self, event: Event) -> None:
        try:
            async with asyncio.timeout(self._service.settings.idle_seconds):
                await async_write_event(event, self._writer)
        except TimeoutError:
            self._writer.transport.abort()  # what it has not read would keep the connection open
            raise ConnectionAbortedError from None


def describe(service: Service) -> Event:
    """What there is: one program, with a model for each.

    Raises:
        Problem: not all are loaded yet; who asks sets up what it is told, and so it is to ask again.
    """
    if not service.ready:
        raise Problem(Kind.UNAVAILABLE, "the server is loading its models, or about to stop")
    models = [
        AsrModel(name, _US, installed=True, description=None, version=__version__, languages=model.languages)
        for name, model in service.models.by_name.items()
    ]
    program = AsrProgram(
        "nemotron-asr", _US, installed=True, description="Streaming speech to text", version=__version__,
        models=models, supports_transcript_streaming=True, requires_external_vad=False,
        prefers_auto_gain_enabled=False, prefers_noise_reduction_enabled=False,
    )  # fmt: skip
    return Info(asr=[program]).event()
