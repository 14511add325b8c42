"""The events of one stream on their way from the engine's thread to whoever reads them."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

from nemotron_asr.engine.promise import Promise
from nemotron_asr.errors import StreamFailedError
from nemotron_asr.events import Event, Final, Partial, Segment
from nemotron_asr.postprocess import Postprocessor, shown
from nemotron_asr.postprocess.hooks import places

logger = logging.getLogger(__name__)

UNREAD = 1000
"""Events that may wait to be read; a partial replaces the one before it, so this is many minutes of speech."""


class EventQueue:
    """Written by the engine, read by one thread or coroutine.

    On their way in, `postprocess` changes finals, and may hide the ends of partials. A partial holds all that the one
    before it held, so a reader who falls behind finds the newest only; one who never reads ends the stream, not the
    engine.
    """

    def __init__(self, postprocess: Postprocessor | None = None) -> None:
        self._postprocess = postprocess
        self._events: deque[Event] = deque()
        self._lock = Lock()
        self._readers: list[Promise[None]] = []  # who waits, and has not given up
        self.ended = False
        self.error: BaseException | None = None

    def put(self, events: Sequence[Event]) -> list[Event]:
        """Append events; return them as they are to be read.

        Raises:
            StreamFailedError: too many were not read, or postprocessing failed.
        """
        told = list(events) if self._postprocess is None else _postprocessed(events, self._postprocess)
        with self._lock:
            if self.error is not None:
                return []
            for event in told:
                if isinstance(event, Partial) and self._events and isinstance(self._events[-1], Partial):
                    self._events.pop()
                self._events.append(event)
            if len(self._events) > UNREAD:
                raise StreamFailedError(f"{len(self._events)} events of this stream were not read; read on or close it")
            readers = self._waiting()
        _wake(readers)
        return told

    def end(self, error: BaseException | None = None) -> None:
        """No more events; with an error, none of those unread either."""
        with self._lock:
            if self.ended:
                return
            self.ended, self.error = True, error
            if error is not None:
                self._events.clear()
            readers = self._waiting()
        _wake(readers)

    def take(self) -> list[Event]:
        """All unread events, without waiting.

        Raises:
            NemotronError: the stream ended with it.
        """
        with self._lock:
            events = list(self._events)
            self._events.clear()
        if self.error is not None:
            raise self.error.with_traceback(None)
        return events

    def poll(self) -> "Event | Promise[None] | None":
        """The next event; a promise that is kept when there may be one; or nothing at the end.

        Raises:
            NemotronError: the stream ended with it.
        """
        with self._lock:
            if self._events:
                return self._events.popleft()
            if self.error is not None:
                raise self.error.with_traceback(None)
            if self.ended:
                return None
            promise: Promise[None] = Promise()
            self._readers = [*(reader for reader in self._readers if not reader.done()), promise]
            return promise

    def _waiting(self) -> list[Promise[None]]:
        readers, self._readers = self._readers, []
        return readers


def _wake(readers: Sequence[Promise[None]]) -> None:
    """Keep promises. Not under the lock: what is called then may read this queue."""
    for reader in readers:
        reader.keep(None)


def _postprocessed(events: Sequence[Event], postprocess: Postprocessor) -> list[Event]:
    try:
        return [changed for event in events if (changed := _changed(event, postprocess))]
    except BaseException as error:  # a user's function: it may raise anything, and must not end the engine
        logger.warning("postprocessing a segment failed", exc_info=True)
        raise StreamFailedError(f"postprocessing a segment failed: {error!r}") from error


def _changed(event: Event, postprocess: Postprocessor) -> Event | None:
    """The event as it is to be read, if anything of it is."""
    if isinstance(event, Partial):
        seen = shown(postprocess, event.segment)
        return replace(event, segment=seen) if seen else None
    if not isinstance(event, Final):
        return event
    final = _final(event.segment, postprocess)
    others = tuple(replace(other, segment=_final(other.segment, postprocess)) for other in event.segment.alternatives)
    return replace(event, segment=replace(final, alternatives=others))


def _final(segment: Segment, postprocess: Postprocessor) -> Segment:
    changed = postprocess(segment)
    if not isinstance(changed, Segment):
        raise TypeError(f"a postprocessor gives back a segment, not {changed!r}")
    places(changed)  # who makes subtitles of it later has to find its words
    return changed
