"""Recordings -> transcripts: each read, fed and collected by a thread of its own; in order, or as they finish."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike, fspath
from typing import Literal, Protocol

from nemotron_asr.audio import AudioSource, Samples, read_blocks, read_channels
from nemotron_asr.engine import Engine, Session
from nemotron_asr.engine.promise import in_background
from nemotron_asr.engine.settings import Settings
from nemotron_asr.errors import NemotronError, OptionError
from nemotron_asr.events import Event, Final
from nemotron_asr.transcript import Transcript, collect, merge

AHEAD = 4
"""Recordings that may be begun ahead of the oldest that still runs, per recording that runs at once."""

Channels = Literal["mix", "separate"]

CHANNELS: tuple[Channels, ...] = ("mix", "separate")

Result = Transcript | NemotronError


class Job(Protocol):
    """A recording that a thread has transcribed."""

    def run(self) -> Result:
        """The transcript, or why there is none."""

    def cancel(self) -> None:
        """Nobody wants it any more."""


class Reading:
    """A recording that is read, fed and collected by one thread, in a stream, or in one for each channel.

    Args:
        engine: where its streams are.
        source: what is read; once, block by block, all channels in step.
        settings: of all its streams.
        channels: "mix" or "separate".

    Raises:
        EngineClosedError: the engine was closed.
        OptionError: other channels.
    """

    def __init__(self, engine: Engine, source: AudioSource, settings: Settings, channels: Channels) -> None:
        self._source, self._language = source, settings.target.language
        self._separate = check_channels(channels) == "separate"
        self._listen = partial(engine.listen, settings, recording=True)
        self._heard = [_Heard(self._listen())]

    def run(self) -> Result:
        """The transcript, or why there is none."""
        try:
            with ExitStack() as sessions:
                sessions.enter_context(self._heard[0].session)
                for block in self._blocks():
                    while len(self._heard) < len(block):
                        self._heard.append(_Heard(sessions.enter_context(self._listen())))
                    for heard, samples in zip(self._heard, block, strict=True):
                        heard.feed(samples)
            transcripts = [heard.transcript(self._language) for heard in self._heard]
        except NemotronError as error:
            return error
        whole = merge(transcripts) if self._separate else transcripts[0]
        return replace(whole, file=fspath(self._source) if isinstance(self._source, (str, PathLike)) else None)

    def cancel(self) -> None:
        """Drop it; its thread ends with an error that nobody reads."""
        self._heard[0].session.abort()

    def _blocks(self) -> Iterator[Samples]:
        if self._separate:
            return read_channels(self._source)
        return (block[None] for block in read_blocks(self._source))


@dataclass
class _Heard:
    """What one stream of a recording has said so far."""

    session: Session
    finals: list[Final] = field(default_factory=list)

    def feed(self, samples: Samples) -> None:
        self.session.feed(samples).result()
        self._keep(self.session.take())

    def transcript(self, language: str) -> Transcript:
        self._keep(self.session)
        return collect(self.finals, self.session.duration, self.session.detected, language)

    def _keep(self, events: Iterable[Event]) -> None:
        self.finals += [event for event in events if isinstance(event, Final)]


def check_channels(channels: str) -> Channels:
    """How channels are to be heard.

    Raises:
        OptionError: in another way than those offered.
    """
    for choice in CHANNELS:
        if channels == choice:
            return choice
    raise OptionError(f"channels {channels!r} is not offered; choose {' or '.join(CHANNELS)}")


def check_sources(sources: object) -> None:
    """Look whether it is a list of sources, not one path, whose letters would be taken for sources.

    Raises:
        OptionError: it is one, or nothing that can be iterated over.
    """
    if isinstance(sources, str | bytes | PathLike) or not isinstance(sources, Iterable):
        raise OptionError(f"sources is {sources!r:.150}; give a list of recordings")


def as_finished(
    start: Callable[[AudioSource], Job], sources: Iterable[AudioSource], at_once: int
) -> Iterator[tuple[int, Result]]:
    """Keep so many recordings running; none is begun far ahead of one that still runs.

    Those that run when nobody asks for more are cancelled, and nobody waits for their threads to notice.
    """
    waiting, running = enumerate(sources), dict[Future[Result], tuple[int, Job]]()
    upcoming = next(waiting, None)
    try:
        while running or upcoming:
            oldest = min((number for number, _ in running.values()), default=upcoming[0] if upcoming else 0)
            while upcoming and len(running) < at_once and upcoming[0] < oldest + AHEAD * at_once:
                job = start(upcoming[1])
                running[in_background(job.run, "nemotron-asr reading")] = upcoming[0], job
                upcoming = next(waiting, None)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, _ = running.pop(future)
                yield number, future.result()
    finally:
        for _, job in running.values():
            job.cancel()


def in_order(finished: Iterator[tuple[int, Result]]) -> Iterator[Result]:
    """Hold results back until all before them are there."""
    held: dict[int, Result] = {}
    due = 0
    for number, result in finished:
        held[number] = result
        while due in held:
            yield held.pop(due)
            due += 1
