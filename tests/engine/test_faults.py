"""What goes wrong in one stream stays in it."""

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np
import pytest

from nemotron_asr.engine import Engine, Session, event_queue
from nemotron_asr.engine import session as session_module
from nemotron_asr.engine.inbox import Inbox
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.promise import Promise
from nemotron_asr.engine.runner import Part
from nemotron_asr.errors import AudioError, EngineClosedError, StreamClosedError, StreamFailedError
from nemotron_asr.events import Event, Final
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample


def text(events: Iterable[Event]) -> str:
    return " ".join(event.segment.text for event in events if isinstance(event, Final))


def says(engine: Engine, sample: Sample) -> str:
    session = engine.open(latency_ms=560)
    session.feed(sample.audio)
    session.close()
    return text(session)


@pytest.fixture
def bystander(engine: Engine, recognizer: Recognizer, samples: list[Sample]) -> Any:
    """A stream that is in the midst of its speech while others fail, and must not notice."""
    sample = samples[1]
    session = engine.open(latency_ms=160)
    session.feed(sample.audio[:20000])
    yield
    session.feed(sample.audio[20000:])
    session.close()
    assert text(session) == recognizer.transcribe((sample.audio, 16000), latency_ms=160).text


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("bad", [np.array([0.0, np.nan]), np.array([np.inf]), np.array([1e9]), np.zeros((3, 3, 3))])
def test_bad_samples_end_their_stream(engine: Engine, bad: np.ndarray, samples: list[Sample]) -> None:
    session = engine.open()
    session.feed(samples[0].audio)
    with pytest.raises(AudioError):
        session.feed(bad)
    with pytest.raises(AudioError):
        session.feed(samples[0].audio)
    with pytest.raises(AudioError):
        list(session)


@pytest.mark.usefixtures("bystander")
def test_a_failing_step_ends_its_streams_and_the_engine_lives(
    engine: Engine, recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = says(engine, samples[0])
    step = recognizer.runner.step

    def failing(pool: Any, parts: list[Part], *shape: int) -> Any:
        if any(part.target.language == "ja-JP" for part in parts):
            raise RuntimeError("out of memory")
        return step(pool, parts, *shape)

    monkeypatch.setattr(recognizer.runner, "step", failing)
    session = engine.open(language="ja")
    session.feed(samples[0].audio)
    with pytest.raises(StreamFailedError, match="out of memory"):
        list(session)
    with pytest.raises(StreamFailedError):
        session.feed(samples[0].audio)
    assert says(engine, samples[0]) == expected


@pytest.mark.usefixtures("bystander")
def test_a_consumer_that_raises_ends_its_stream(engine: Engine, samples: list[Sample]) -> None:
    session = engine.open(latency_ms=80)
    session.feed(samples[0].audio)

    def consume() -> None:
        with session:
            for _ in session:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()
    with pytest.raises(StreamClosedError):
        session.feed(samples[0].audio)
    session.settle().result(10)


@pytest.mark.usefixtures("bystander")
def test_a_consumer_that_does_not_read_is_ended(
    engine: Engine, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "UNREAD", 4)
    session = engine.open(latency_ms=80, endpointing_ms=80)
    for sample in samples:
        session.feed(sample.audio)
    session.settle().result(10)
    with pytest.raises(StreamFailedError, match="events of this stream were not read"):
        session.take()


@pytest.mark.parametrize("last", [Session.close, Session.finalize])
def test_the_last_events_that_nobody_reads_end_their_stream_only(
    engine: Engine, samples: list[Sample], monkeypatch: pytest.MonkeyPatch, last: Callable[[Session], Any]
) -> None:
    """Also where it comes from no step: the stream ends, or is finalized, when all was said."""
    session, expected = engine.open(), says(engine, samples[0])
    with monkeypatch.context() as patch:
        patch.setattr(event_queue, "UNREAD", -1)
        last(session)
        for _ in range(2):  # the stream ends behind what answers the first
            session.settle().result(10)
        with pytest.raises(StreamFailedError, match="events of this stream were not read"):
            session.take()
    assert says(engine, samples[0]) == expected


def test_a_fault_of_the_engine_itself_leaves_nobody_waiting(
    recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object) -> NoReturn:
        raise SystemExit("enough")

    with Engine(recognizer, max_streams=8) as engine:
        beside, session = engine.open(), engine.open()
        beside.feed(samples[0].audio[:20_000])
        beside.settle().result(10)
        rows = len(engine._loop._pool._free)
        monkeypatch.setattr(Live, "take", leave)
        session.feed(samples[0].audio)
        assert session.finalize().result(10) is None
        for each in (beside, session):
            with pytest.raises(StreamFailedError, match="the engine failed: SystemExit") as caught:
                list(each)
            assert isinstance(caught.value.__cause__, SystemExit)
            assert each.settle().result(10) is None
        with pytest.raises(EngineClosedError):
            engine.open()
        with pytest.raises(EngineClosedError):
            engine.reserve(2)
        assert engine.close().result(10) is None
        assert len(engine._loop._pool._free) >= rows + 1


def test_closing_that_takes_long_is_cut_short(recognizer: Recognizer, samples: list[Sample]) -> None:
    engine = Engine(recognizer, max_streams=8)
    session = engine.open(latency_ms=80)
    session.feed(np.tile(samples[0].audio, 100))
    ended = engine.close()
    assert not ended.done()
    engine.close(drain=False).result(10)
    with pytest.raises(EngineClosedError, match="the engine was closed"):
        list(session)


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("then", ["take", "poll", "abort"])
def test_whoever_is_told_of_an_event_may_use_the_session(engine: Engine, samples: list[Sample], then: str) -> None:
    session = engine.open(latency_ms=80)
    called = threading.Event()

    def use(_: object) -> None:
        getattr(session, then)()
        called.set()

    told = session.poll()
    assert isinstance(told, Promise)
    told.add_done_callback(use)
    session.feed(samples[0].audio)
    assert called.wait(10)
    assert says(engine, samples[0])


def test_packets_of_nothing_are_not_kept(engine: Engine) -> None:
    with engine.open() as session:
        for _ in range(100):
            session.feed(np.zeros(0, np.float32))
        assert not session._held


@pytest.mark.usefixtures("bystander")
def test_a_producer_in_a_thread_is_slowed(
    engine: Engine, recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the machine does nothing, `feed` does not return."""
    gate, step = threading.Event(), recognizer.runner.step

    def gated(*arguments: Any) -> Any:
        gate.wait(10)
        return step(*arguments)

    monkeypatch.setattr(recognizer.runner, "step", gated)
    session, fed = engine.open(latency_ms=1120), 0

    def speak() -> None:
        nonlocal fed
        for _ in range(30):
            session.feed(samples[0].audio)
            fed += 1
        session.close()

    thread = threading.Thread(target=speak)
    thread.start()
    thread.join(0.5)
    waited_at = fed
    gate.set()
    assert text(session)
    thread.join(30)
    assert waited_at < 15
    assert fed == 30


async def test_a_producer_in_a_coroutine_awaits_or_is_refused(
    engine: Engine, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MOST_BACKLOG", 40.0)
    async with engine.open(latency_ms=1120) as session:
        for _ in range(20):
            await session.feed(samples[0].audio)
    careless = engine.open(latency_ms=1120, recording=True)
    with pytest.raises(StreamFailedError, match=r"s of audio wait unheard; await feed\(\)"):
        [careless.feed(samples[0].audio) for _ in range(1000)]


def test_a_hundred_megabytes_at_once(engine: Engine, samples: list[Sample]) -> None:
    """52 minutes in one packet: a long wait for this stream, none for others."""
    session = engine.open(latency_ms=1120, recording=True)
    session_thread = threading.Thread(target=session.feed, args=(np.zeros(50_000_000, np.int16),))
    session_thread.start()
    assert says(engine, samples[0])
    session.abort()
    session_thread.join(30)
    assert not session_thread.is_alive()
    with pytest.raises(StreamClosedError):
        list(session)


def test_packets_of_one_sample(engine: Engine, samples: list[Sample]) -> None:
    session = engine.open(latency_ms=560)
    for sample in samples[0].audio[:6000]:
        session.feed(np.array([sample]))
    session.feed(samples[0].audio[6000:])
    session.feed(np.zeros(0, np.float32))
    session.close()
    assert text(session) == says(engine, samples[0])


@pytest.mark.usefixtures("bystander")
def test_aborts_during_steps(engine: Engine, samples: list[Sample]) -> None:
    draw = random.Random(0)
    for _ in range(40):
        session = engine.open(latency_ms=draw.choice([80, 320, 1120]))
        session.feed(samples[0].audio[: draw.randrange(60000)])
        threading.Event().wait(draw.random() / 300)
        if draw.random() < 0.5:
            session.abort()
        else:
            session.close()
    assert says(engine, samples[0])


def test_the_pool_does_not_change_under_a_running_step(
    recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that come while a step runs get their rows, for which the pool may grow, after it."""
    gate, running, step, acquire = threading.Event(), threading.Event(), recognizer.runner.step, Pool.acquire
    under_a_step: list[bool] = []

    def gated(*arguments: Any) -> Any:
        running.set()
        gate.wait(10)
        said = step(*arguments)
        running.clear()
        return said

    def observed(pool: Pool) -> int:
        under_a_step.append(running.is_set())
        return acquire(pool)

    monkeypatch.setattr(recognizer.runner, "step", gated)
    monkeypatch.setattr(Pool, "acquire", observed)
    with Engine(recognizer, max_streams=8) as engine:
        sessions = [engine.open(latency_ms=1120) for _ in range(5)]
        sessions[0].feed(samples[0].audio)
        assert running.wait(10)
        for session in sessions[1:]:
            session.feed(samples[0].audio)
        sessions.append(engine.open(latency_ms=1120))
        gate.set()
        for session in sessions:
            session.close()
        said = [text(session) for session in sessions]
    assert said[1:5] == said[:1] * 4
    assert under_a_step == [False] * 5


@pytest.mark.usefixtures("bystander")
def test_a_stream_for_which_there_is_no_memory_ends_alone(
    engine: Engine, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, acquire = says(engine, samples[0]), Pool.acquire

    def short(_: Pool) -> int:
        raise MemoryError("no row")

    monkeypatch.setattr(Pool, "acquire", short)
    session = engine.open()
    session.feed(samples[0].audio)
    session.close()
    with pytest.raises(StreamFailedError, match="no row"):
        list(session)
    monkeypatch.setattr(Pool, "acquire", acquire)
    assert says(engine, samples[0]) == expected


def test_a_pool_that_cannot_grow_stays_as_it_is(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(_: object) -> None:
        raise MemoryError

    pool = recognizer.runner.pool()
    rows = len(pool.encoder.t)
    taken = [pool.acquire() for _ in range(rows)]
    with monkeypatch.context() as patch:
        patch.setattr(type(pool.decoder), "grown", short)
        with pytest.raises(MemoryError):
            pool.acquire()
    assert len(pool.encoder.t) == rows
    assert sorted([*taken, pool.acquire()]) == list(range(rows + 1))


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("where", range(12))
async def test_a_task_may_be_cancelled_at_every_await(engine: Engine, samples: list[Sample], where: int) -> None:
    """Cancelled after so many turns of the event loop, wherever that is: awaiting room, words, a flush or events."""

    async def caption() -> None:
        async with engine.open(latency_ms=80) as session:
            for start in range(0, len(samples[0].audio), 16000):
                await session.feed(samples[0].audio[start : start + 16000])
                await session.settle()
                await session.finalize()
            session.close()
            async for _ in session:
                await asyncio.sleep(0)

    task = asyncio.create_task(caption())
    for _ in range(where * 3):
        await asyncio.sleep(0 if where % 2 else 0.003)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None


def test_closing_drains(recognizer: Recognizer, samples: list[Sample]) -> None:
    engine = Engine(recognizer, max_streams=8)
    sessions = [engine.open(latency_ms=1120) for _ in range(4)]
    for session in sessions:
        session.feed(samples[0].audio)
    engine.close().result(30)
    expected = recognizer.transcribe((samples[0].audio, 16000)).text
    assert [text(session) for session in sessions] == [expected] * 4
    with pytest.raises(EngineClosedError):
        engine.open()
    engine.close().result(1)


def test_closing_drains_what_is_no_whole_chunk_yet(recognizer: Recognizer, samples: list[Sample]) -> None:
    """And refuses more, however long the rest takes."""
    engine, audio = Engine(recognizer, max_streams=1), np.tile(samples[0].audio, 5)[:-5000]
    session = engine.open(latency_ms=1120)
    for start in range(0, len(audio), 320):
        session.feed(audio[start : start + 320])
    closed = engine.close()
    with pytest.raises(StreamClosedError):
        session.feed(audio)
    closed.result(30)
    assert text(session) == recognizer.transcribe((audio, 16000)).text


async def test_closing_without_draining_ends_at_once(recognizer: Recognizer, samples: list[Sample]) -> None:
    engine = Engine(recognizer, max_streams=8)
    session = engine.open()
    session.feed(np.tile(samples[0].audio, 50))
    await engine.close(drain=False)
    with pytest.raises(EngineClosedError):
        [event async for event in session]


def test_what_is_asked_of_a_closed_engine_is_answered(recognizer: Recognizer) -> None:
    engine = Engine(recognizer, max_streams=8)
    session = engine.open()
    engine.close(drain=False).result(10)
    assert session.settle().result(10) is None
    with pytest.raises(EngineClosedError):
        session.finalize()
    with pytest.raises(EngineClosedError):
        engine.reserve(2)


async def test_who_gives_up_waiting_for_the_end_does_so_alone(recognizer: Recognizer, samples: list[Sample]) -> None:
    engine = Engine(recognizer, max_streams=8)
    session = engine.open()
    session.feed(np.tile(samples[0].audio, 5))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.close(), 0.001)
    await engine.close()
    assert session.backlog == 0


def test_threads_end_with_their_engine(recognizer: Recognizer) -> None:
    def ours() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("nemotron-asr")}

    before = ours()
    engine: Engine | None = Engine(recognizer, max_streams=1)
    started = ours() - before
    assert len(started) == 2
    del engine
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


def test_ten_thousand_cycles_leave_memory_flat(recognizer: Recognizer) -> None:
    import tracemalloc

    audio = np.random.default_rng(0).normal(0, 0.1, 400).astype(np.float32)
    with Engine(recognizer, max_streams=64) as engine:

        def cycle(times: int) -> None:
            for _ in range(times):
                with engine.open(latency_ms=80) as session:
                    session.feed(audio)
                list(session)

        cycle(200)
        tracemalloc.start()
        cycle(100)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        cycle(CYCLES)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert after - before < 400 * CYCLES  # bytes; a stream has many thousands


def test_a_stream_that_was_dropped_keeps_nothing_alive(engine: Engine) -> None:
    """Whoever still holds one error of one stream does not hold the others by it."""
    session = engine.open()
    session.abort()
    with pytest.raises(StreamClosedError) as caught:
        session.feed(np.zeros(100, np.float32))
    gone = []
    for _ in range(3):
        other = engine.open()
        gone.append(weakref.ref(other))
        other.abort()
        with pytest.raises(StreamClosedError):
            other.feed(np.zeros(100, np.float32))
        with pytest.raises(StreamClosedError):
            list(other)
        other.settle().result(10)
    del other
    gc.collect()
    assert [each() for each in gone] == [None] * 3
    assert caught.value is not None


def test_an_error_that_is_raised_again_does_not_grow(engine: Engine) -> None:
    session = engine.open()
    session.abort()
    depths = []
    for _ in range(3):
        with pytest.raises(StreamClosedError) as caught:
            session.take()
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


async def test_two_readers_share_the_events(engine: Engine, samples: list[Sample]) -> None:
    session = engine.open(latency_ms=80)

    async def read() -> list[Event]:
        return [event async for event in session]

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.sleep(0)
    session.feed(samples[0].audio)
    session.close()
    heard = await asyncio.wait_for(asyncio.gather(*readers), 60)
    assert any(isinstance(event, Final) for events in heard for event in events)


CYCLES = 1000
"""In every run of the tests; `benchmarks/soak.py` has ten thousand."""


def test_a_session_is_one_readers(engine: Engine, samples: list[Sample]) -> None:
    """Iterating over a stream that ended with an error raises it every time."""
    session: Session = engine.open()
    session.abort()
    for _ in range(2):
        with pytest.raises(StreamClosedError):
            list(session)
    assert says(engine, samples[0])


def test_a_closed_inbox_may_be_emptied_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the garbage collector does that drops a session while another call is being made."""
    inbox, made = Inbox(), list[int]()
    inbox.close()
    looked = inbox._next

    def interrupted() -> Callable[[], Any] | None:
        monkeypatch.undo()
        inbox.put(lambda: made.append(2))
        return looked()

    monkeypatch.setattr(inbox, "_next", interrupted)
    thread = threading.Thread(target=inbox.put, args=(lambda: made.append(1),), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert made == [1, 2]
