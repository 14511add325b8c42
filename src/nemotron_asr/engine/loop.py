"""The engine's two threads: one decides, prepares and hands out words; the other computes.

The deciding thread owns every stream. Whoever wants something of a stream puts a call into the inbox, on which the
thread sleeps; nothing is polled. While a step is computed it takes in audio, prepares windows of samples, and hands out
the words of the step before.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nemotron_asr.audio.activity import Edge
from nemotron_asr.audio.samples import Samples
from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.decoding.boosting import BoostTree
from nemotron_asr.engine.admission import Admission
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.gathering import time_to_gather
from nemotron_asr.engine.inbox import Inbox
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.promise import Promise
from nemotron_asr.engine.rows import give_row, take_row
from nemotron_asr.engine.runner import Part, Runner, StepResult
from nemotron_asr.engine.scheduler import Batch, Ready, choose
from nemotron_asr.engine.stream import Target, Work
from nemotron_asr.engine.worker import Worker
from nemotron_asr.errors import EngineClosedError, StreamFailedError
from nemotron_asr.events import Segment

BACKLOG = 30.0
"""Seconds of audio that may wait for the engine before a producer is slowed down."""


@dataclass(frozen=True)
class _Step:
    """What is being computed: what its streams brought, and when their results are due."""

    batch: Batch[Live]
    parts: Sequence[Part]
    dues: Sequence[float]
    began: float


class Loop:
    """Owns streams, rows and time. Methods that take a `Live` run in its own thread: reach them by `tell`.

    Attributes:
        clock: seconds.
        steps, computing: steps computed so far, and the seconds that they took.
        closing: no more streams come in.
        fault: what ended the engine, if it was no `shut_down`.
        ended: kept when the threads have no more to do.
    """

    def __init__(self, runner: Runner, admission: Admission, cost: StepCost) -> None:
        self.runner, self.admission, self.cost = runner, admission, cost
        self.clock = time.monotonic
        self.steps, self.computing = 0, 0.0
        self.closing = False
        self.fault: BaseException | None = None
        self.ended: Promise[None] = Promise()
        self._pool = runner.pool()
        self._inbox = Inbox()
        self._worker = Worker()
        self._lives: set[Live] = set()
        self._active: dict[Live, None] = {}  # those that may have something to do, in the order in which they came
        self._idle: list[Live] = []  # those that just ran out of it
        self._step: _Step | None = None
        self._put_off: float | None = None  # seconds after which a step starts that waits for more streams
        self._thread = threading.Thread(target=self._run, name="nemotron-asr engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Streams that may have something to do."""
        return len(self._active)

    def check_open(self) -> None:
        """Look whether streams may come in.

        Raises:
            EngineClosedError: they may not, or not in this process.
            StreamFailedError: a function that postprocesses asks; it would wait for itself.
        """
        self.check_process()
        if threading.current_thread() is self._thread:
            raise StreamFailedError(
                "a postprocessor cannot open a stream of its own engine; do it where events are read"
            )
        if self.closing:
            raise EngineClosedError("the engine is closed") from self.fault

    def check_process(self) -> None:
        """Look whether the engine's thread is in this process, so that what it promises is kept.

        Raises:
            EngineClosedError: it is not.
        """
        self._inbox.check_process()

    def tell(self, what: Callable[..., Any], *arguments: Any) -> None:
        """Have the engine's thread call something; once it has ended, this thread does.

        Raises:
            EngineClosedError: the engine is another process's.
        """
        self._inbox.put(partial(what, *arguments))

    def ask(self, what: Callable[[], Any]) -> Promise[Any]:
        """Have the computing thread call something between two steps; once that has ended, the promise fails."""
        promise: Promise[Any] = Promise()
        self._worker.start(what, lambda result, error: promise.fail(error) if error else promise.keep(result))
        return promise

    def reserve(self, streams: int) -> None:
        """Have the memory that the state of so many streams takes."""
        self.ask(partial(self._pool.reserve, streams)).result()

    # What sessions ask for: calls come in the order in which they were told.

    def open(self, live: Live) -> None:
        """A stream has come."""
        if self.closing:
            self.admission.leave(live)
            live.fail(EngineClosedError("the engine is closed"))
            return
        self._lives.add(live)

    def hear(self, live: Live, edges: Sequence[Edge]) -> None:
        """Where voice begins and ends in audio that comes next."""
        if live in self._lives:
            with self._ending(live):
                live.hear(edges)

    def feed(self, live: Live, samples: Samples) -> None:
        """Audio has come; none is heard that comes while the engine closes."""
        if live in self._lives and not live.stream.closed:
            live.heard(samples, self.clock())
            self._active[live] = None
            if not live.computing and (work := live.stream.next_work()):
                live.stream.window(work.chunk)  # prepared while the current step is computed

    def close(self, live: Live) -> None:
        """No more audio will come."""
        if live in self._lives and not live.stream.closed:
            live.close(self.clock())
            self._active[live] = None

    def flush(self, live: Live, promise: Promise[Segment | None]) -> None:
        """The words so far are wanted."""
        if live in self._lives:
            live.flush(promise, self.clock())
            self._active[live] = None
        else:
            promise.keep(None)

    def change(self, live: Live, target: Target | None, chunk: int | None, boost: BoostTree | None) -> None:
        """Another language, latency or list of phrases is wanted."""
        if live in self._lives:
            live.stream.change(target, chunk, boost)

    def make_room(self, live: Live, promise: Promise[None]) -> None:
        """A producer waits until the backlog is short."""
        live.room.append(promise)
        self._let_on(live)

    def settle(self, live: Live, promise: Promise[None]) -> None:
        """Somebody waits until nothing is left to be said."""
        live.settling.append(promise)
        if live in self._lives:
            self._active[live] = None
        else:
            live.answer()

    def fail(self, live: Live, error: BaseException) -> None:
        """End a stream by an error; a step that it is in goes on without it."""
        if live in self._lives:
            self._leave(live)
            live.fail(error)

    def shut_down(self, *, drain: bool) -> None:
        """Let no more streams in; end those that are here, after what was promised or at once."""
        self.closing = True
        for live in list(self._lives):
            if drain:
                self.close(live)
            else:
                self.fail(live, EngineClosedError("the engine was closed"))

    # The thread.

    def _run(self) -> None:
        try:
            while not (self.closing and not self._lives and self._step is None):
                self._inbox.make_one(self._put_off)
                self._inbox.make_all()
                self._go_on()
                self._see_to_idle()
        except BaseException as error:  # noqa: BLE001 - of a fault in here nobody else would know
            self._give_up(error)
        try:
            self._worker.stop()
            self._inbox.close()
        finally:
            self.ended.keep(None)

    def _give_up(self, fault: BaseException) -> None:
        """End all streams by a fault of the engine, so that nobody waits for what will not come."""
        self.fault, self.closing, self._step = fault, True, None
        for live in list(self._lives):
            self._leave(live)
            live.fail(_failure("the engine failed", fault))

    def _go_on(self) -> None:
        """Start the next step, unless one is on its way."""
        if self._step is not None:
            return
        works = {live: work for live in list(self._active) if (work := self._next_work(live))}
        ready = [
            Ready(live, work.chunk, work.chunks, live.due(work), live.stream.t, work.flush)
            for live, work in works.items()
        ]
        batch = choose(ready, self.admission.lanes(), self.cost, self.runner.most)
        self._put_off = time_to_gather(batch, works, self._lives, self.cost, self.clock()) if batch else None
        if batch is not None and not self._put_off:
            self._put_off = None
            self._begin(replace(batch, streams=tuple(live for live in batch.streams if self._has_row(live))), works)

    def _begin(self, batch: Batch[Live], works: Mapping[Live, Work]) -> None:
        """Hand a step to the thread that computes."""
        if not batch.streams:
            self._go_on()
            return
        dues = [live.due(works[live]) for live in batch.streams]
        parts = [live.begin(works[live], batch.frames) for live in batch.streams]
        self._step = step = _Step(batch, parts, dues, self.clock())
        compute = partial(self.runner.step, self._pool, parts, batch.frames, batch.chunk)
        self._worker.start(compute, lambda said, error: self.tell(self._finished, step, said, error))
        for live in batch.streams:
            self._let_on(live)

    def _has_row(self, live: Live) -> bool:
        """A stream gets its row at its first step: the pool may grow, which no step must meet on its way.

        One for which there is no memory ends, and the others know nothing of it.
        """
        try:
            give_row(self._pool, live.stream)
        except Exception as error:  # noqa: BLE001 - torch has several errors for memory that is not there
            self._failed([live], error)
            return False
        return True

    def _next_work(self, live: Live) -> Work | None:
        """What an active stream can do; one that can do nothing more is not active."""
        if live.computing:
            return None
        work = live.stream.next_work()
        while work is not None and not work.chunks:
            with self._ending(live):
                live.flush_nothing()
            if live not in self._lives:
                return None
            work = live.stream.next_work()
        if work is None:
            del self._active[live]
            self._idle.append(live)
        return work

    def _finished(self, step: _Step, said: list[StepResult] | None, error: BaseException | None) -> None:
        """Hand out the words of a step while the next one is computed."""
        lives = step.batch.streams
        if step is not self._step:  # the engine has given up meanwhile
            for live in lives:
                take_row(self._pool, live.stream)
            return
        self._step, now = None, self.clock()
        for live in lives:
            live.computing = False
            if live not in self._lives:
                take_row(self._pool, live.stream)
        if said is None:
            self._failed(lives, error)
            return
        self.steps += 1
        self.computing += now - step.began
        self.cost.add(len(lives) * step.batch.frames, now - step.began)
        urgent = {live for live, part in zip(lives, step.parts, strict=True) if part.flush or live.flushing}
        self._take(step, said, urgent)
        self._go_on()
        self._take(step, said, set(lives) - urgent)
        for live, due in zip(lives, step.dues, strict=True):
            if not live.recording:
                came = due - step.batch.chunk * FRAME_SECONDS
                self.admission.served(max(0.0, now - came), late=now > due)  # audio may come before it is due

    def _failed(self, lives: Sequence[Live], error: BaseException | None) -> None:
        """End the streams of a step that cannot be computed; the next one is begun without them."""
        for live in lives:
            live.computing = False
            self.fail(live, _failure("a step of the engine failed", error))

    def _take(self, step: _Step, said: list[StepResult], chosen: Collection[Live]) -> None:
        """Make events of some streams' tokens: before the next step where that depends on it, the others meanwhile."""
        for live, part, heard in zip(step.batch.streams, step.parts, said, strict=True):
            if live in chosen and live in self._lives:
                with self._ending(live):
                    live.take(part, heard)

    @contextmanager
    def _ending(self, live: Live) -> Iterator[None]:
        """A stream whose events nobody reads ends, and no other."""
        try:
            yield
        except StreamFailedError as error:
            self.fail(live, error)

    def _see_to_idle(self) -> None:
        """Answer those who waited for a stream to have nothing more to do, and end it if no audio will come."""
        idle, self._idle = self._idle, []
        for live in idle:
            if live not in self._lives or live.computing or live in self._active:
                continue
            if live.stream.closed:
                self._leave(live)
                live.finish()
            live.answer()

    def _let_on(self, live: Live) -> None:
        if live.backlog <= BACKLOG or live not in self._lives:
            live.let_on()

    def _leave(self, live: Live) -> None:
        self._lives.remove(live)
        self._active.pop(live, None)
        self.admission.leave(live)
        if not live.computing:
            take_row(self._pool, live.stream)


def _failure(what: str, error: BaseException | None) -> StreamFailedError:
    """An error of its own for each stream: each is raised elsewhere."""
    failure = StreamFailedError(f"{what}: {error!r}")
    failure.__cause__ = error
    return failure
