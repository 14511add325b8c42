"""Keeps count of one conversation: metrics, its span, the key's account, the log."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from nemotron_asr.events import Final
from nemotron_asr.server.answers import StreamEvent
from nemotron_asr.server.keys import Key
from nemotron_asr.server.metrics import Metrics
from nemotron_asr.server.problems import Problem
from nemotron_asr.server.traces import Trace

logger = logging.getLogger(__name__)


@dataclass
class Watch:
    """One conversation's counters. What was said is logged only if `transcripts` says so.

    Attributes:
        stream: the conversation's name.
        over: called when it has ended.
    """

    metrics: Metrics
    trace: Trace
    key: Key
    protocol: str
    model: str
    stream: str
    transcripts: bool
    over: Callable[[], None]

    def __post_init__(self) -> None:
        whose = self.protocol, self.model
        self._began = time.monotonic()
        self._seconds, self._words = 0.0, 0
        self._language: str | None = None  # of the last words
        self._audio, self._said = self.metrics.audio.labels(*whose), self.metrics.words.labels(*whose)
        self._open, self._to_final = self.metrics.streams.labels(*whose), self.metrics.to_final.labels(*whose)
        self._lasted = self.metrics.lasted.labels(*whose)
        self.metrics.opened.labels(*whose).inc()
        self._open.inc()
        self._log(logging.INFO, "opened", key=self.key.name, model=self.model)

    def fed(self, seconds: float) -> None:
        """Audio came.

        Raises:
            Problem: it is more than the key may have.
        """
        self._seconds += seconds
        self._audio.inc(seconds)
        self.key.spend(seconds)

    def answered(self, seconds: float) -> None:
        """A `finalize` was answered after so many seconds."""
        self._to_final.observe(seconds)
        self.trace.note("finalized", seconds=round(seconds, 4))

    def told(self, event: StreamEvent) -> None:
        """An event goes out."""
        if isinstance(event, Final):
            self._words += len(event.segment.words)
            self._language = event.segment.language or self._language
            self._said.inc(len(event.segment.words))
            if self.transcripts:
                self._log(logging.INFO, "said", text=event.segment.text)

    def ended(self, problem: Problem | None) -> None:
        """The conversation is over."""
        lasted = time.monotonic() - self._began
        self._open.dec()
        self._lasted.observe(lasted)
        self.key.leave()
        figures = {"seconds": round(lasted, 2), "audio": round(self._seconds, 2), "words": self._words}
        self.trace.end(
            problem, audio_seconds=round(self._seconds, 3), words=self._words, detected_language=self._language
        )
        if problem is None:
            self._log(logging.INFO, "ended", **figures)
        else:
            problem.counted = True
            self.metrics.failed.labels(self.protocol, problem.kind.word).inc()
            self._log(logging.WARNING, "failed", problem=f"{problem.kind.word}: {problem}", **figures)
        self.over()

    def _log(self, level: int, message: str, **fields: object) -> None:
        if logger.isEnabledFor(level):
            logger.log(level, message, extra={"fields": {"stream": self.stream, "protocol": self.protocol, **fields}})
