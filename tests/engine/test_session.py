"""A session says what its audio says, however it is fed, beside whomever, from threads and from coroutines."""

import asyncio
import gc
import itertools
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nemotron_asr
from nemotron_asr.audio import Samples
from nemotron_asr.config import LATENCIES
from nemotron_asr.engine import Engine, Session
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.runner import Part
from nemotron_asr.engine.stream import Stream, Target
from nemotron_asr.errors import AtCapacity, AudioError, LanguageError, OptionError, StreamClosedError
from nemotron_asr.events import Event, Final, Partial, Segment
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample


def finals(events: Iterable[Event]) -> list[Segment]:
    return [event.segment for event in events if isinstance(event, Final)]


def said(segments: Iterable[Segment]) -> list[tuple[str, float, float]]:
    """Words and times. Confidence differs in its last digit, for sums are rounded differently in other batches."""
    return [(word.word, word.start, word.end) for segment in segments for word in segment.words]


def packets(audio: Samples, seed: int, longest: int = 9000) -> list[Samples]:
    draw, cut = random.Random(seed), [0]
    while cut[-1] < len(audio):
        cut.append(cut[-1] + draw.randrange(1, longest))
    return [audio[a:b] for a, b in itertools.pairwise(cut)]


def test_a_thread_feeds_and_reads(engine: Engine, recognizer: Recognizer, samples: list[Sample]) -> None:
    for latency in LATENCIES:
        session = engine.open(latency_ms=latency, language="de")
        for packet in packets(samples[0].audio, latency):
            session.feed(packet)
        session.close()
        expected = recognizer.transcribe((samples[0].audio, 16000), latency_ms=latency, language="de")
        assert said(finals(session)) == said(expected.segments)
        assert session.duration == expected.duration


def test_a_caller_may_use_its_memory_again(engine: Engine, recognizer: Recognizer, samples: list[Sample]) -> None:
    packet = np.zeros(320, np.float32)
    audio = samples[0].audio[: len(samples[0].audio) // 320 * 320]
    with engine.open(latency_ms=1120) as session:
        for start in range(0, len(audio), 320):
            packet[:] = audio[start : start + 320]
            session.feed(packet)
        packet[:] = 0.5
    assert said(finals(session)) == said(recognizer.transcribe((audio, 16000)).segments)


def test_the_engine_is_woken_once_a_frame(recognizer: Recognizer, samples: list[Sample]) -> None:
    with Engine(recognizer, max_streams=1) as engine, engine.open() as session:
        told = 0

        def tell(*call: Any) -> None:
            nonlocal told
            told += call[0].__name__ == "feed"
            ask(*call)

        ask = session._loop.tell
        setattr(session._loop, "tell", tell)  # noqa: B010 - a method is replaced, to count its calls
        for packet in np.array_split(samples[0].audio, len(samples[0].audio) // 160):
            session.feed(packet)
        setattr(session._loop, "tell", ask)  # noqa: B010 - as above
    assert 0 < told <= len(samples[0].audio) / 1280 + 1
    assert finals(session)


def test_what_is_left_at_the_end_is_due_a_chunk_after_the_end() -> None:
    """That no more audio comes is not known before."""
    live = Live(Stream(0, Target(0, ""), 1), None, recording=False)  # type: ignore[arg-type] # nothing is said
    live.heard(np.zeros(100, np.float32), 1.0)
    live.heard(np.zeros(1400, np.float32), 2.0)
    whole = live.stream.next_work()
    assert whole is not None
    assert live.due(whole) == pytest.approx(2.08)
    live.begin(whole, whole.chunks)
    live.close(9.0)
    rest = live.stream.next_work()
    assert rest is not None
    assert live.due(rest) == pytest.approx(9.08)


async def test_coroutines_feed_and_read_at_once(engine: Engine, recognizer: Recognizer, samples: list[Sample]) -> None:
    async def caption(sample: Sample, latency: int) -> list[Segment]:
        events = []
        async with engine.open(latency_ms=latency) as session:

            async def speak() -> None:
                for packet in packets(sample.audio, latency):
                    await session.feed(packet)
                    await asyncio.sleep(0)
                session.close()

            speaking = asyncio.create_task(speak())
            events = [event async for event in session]
            await speaking
        return finals(events)

    jobs = [(sample, latency) for sample in samples for latency in LATENCIES]
    heard = await asyncio.gather(*(caption(*job) for job in jobs))
    for (sample, latency), segments in zip(jobs, heard, strict=True):
        assert said(segments) == said(recognizer.transcribe((sample.audio, 16000), latency_ms=latency).segments)


@given(
    jobs=st.lists(
        st.tuples(
            st.integers(0, 4), st.integers(0, 60_000), st.sampled_from(list(LATENCIES)), st.sampled_from(["de", "auto"])
        ),
        min_size=1,
        max_size=8,
    ),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_gives_each_stream_its_own_words(
    recognizer: Recognizer, samples: list[Sample], jobs: list[tuple[int, int, int, str]], seed: int
) -> None:
    """Opens, packets and closes of all streams in any order, live streams and recordings, on a growing pool."""
    draw = random.Random(seed)
    alone, waiting = [], []
    with Engine(recognizer, max_streams=64) as engine:
        for number, length, latency, language in jobs:
            audio = samples[number].audio[:length]
            session = engine.open(latency_ms=latency, language=language, recording=draw.random() < 0.3)
            waiting.append((session, packets(audio, draw.randrange(1000))))
            alone.append((session, audio, latency, language))
        while waiting:
            session, parts = draw.choice(waiting)
            if parts:
                session.feed(parts.pop(0))
            else:
                session.close()
                waiting.remove((session, parts))
        for session, audio, latency, language in alone:
            if len(audio):
                expected = recognizer.transcribe((audio, 16000), latency_ms=latency, language=language)
                assert said(finals(session)) == said(expected.segments)
            else:
                assert list(session) == []


def test_finalize_returns_the_words_so_far_and_the_stream_goes_on(
    engine: Engine, recognizer: Recognizer, samples: list[Sample]
) -> None:
    audio = np.concatenate([sample.audio for sample in samples[:3]])
    cut = len(samples[0].audio) - 3000
    for latency in LATENCIES:
        session = engine.open(latency_ms=latency, endpointing_ms=None)
        session.feed(audio[:cut])
        segment = session.finalize().result(10)
        so_far = finals(session.take())
        whole = recognizer.transcribe((audio[:cut], 16000), latency_ms=latency)
        assert segment is not None
        assert said(so_far) == said(whole.segments)
        assert segment == so_far[-1]
        assert session.finalize().result(10) is None
        session.feed(audio[cut:])
        session.close()
        rest = finals(session)
        assert rest
        assert rest[0].start >= segment.end - 0.08
        starts = [word.start for piece in rest for word in piece.words]
        assert starts == sorted(starts)


def test_finalize_returns_the_segment_that_its_own_tag_ended(samples: list[Sample]) -> None:
    """The embedded model writes a tag behind a sentence; where it does so while it looks ahead, that is the end."""
    tagged = 0
    with nemotron_asr.load("tiny").engine as engine:
        for sample in samples:
            session = engine.open(latency_ms=1120, endpointing_ms=None)
            session.feed(sample.audio)
            segment = session.finalize().result(10)
            said_so_far = finals(session.take())
            assert segment is None or segment == said_so_far[-1]
            tagged += segment is not None and segment.language is not None
            session.close()
    assert tagged


async def test_finalize_is_awaited_or_ignored(engine: Engine, samples: list[Sample]) -> None:
    async with engine.open(latency_ms=1120) as session:
        session.feed(samples[0].audio[:30000])
        segment = await session.finalize()
        assert segment is not None
        session.finalize()
    assert any(isinstance(event, Final) for event in [event async for event in session])


def test_language_and_latency_change_at_a_place_not_at_a_moment(engine: Engine, samples: list[Sample]) -> None:
    """However busy the engine is, the change holds from the same chunk on; nothing is lost or said twice."""
    audio, heard = np.concatenate([sample.audio for sample in samples[:2]]), []
    for seed in range(3):
        session, fed = engine.open(latency_ms=320, language="de"), 0
        for packet in packets(audio, seed, 4000):
            for change in (20_000, 50_000):
                if fed <= change < fed + len(packet):
                    session.feed(packet[: change - fed])
                    packet, fed = packet[change - fed :], change  # noqa: PLW2901 - what is left of it
                    if seed == 1:
                        session.settle().result(10)
                    if change == 20_000:
                        session.set_language("en")
                    else:
                        session.set_latency(1120)
            session.feed(packet)
            fed += len(packet)
        session.close()
        heard.append(finals(session))
    assert said(heard[0]) == said(heard[1]) == said(heard[2])
    assert heard[0][-1].language == "en-US"
    unchanged = engine.open(latency_ms=320, language="de")
    unchanged.feed(audio)
    unchanged.close()
    assert said(finals(unchanged)) != said(heard[0])


def test_partials_grow_and_a_slow_reader_gets_the_newest(engine: Engine, samples: list[Sample]) -> None:
    session = engine.open(latency_ms=80, endpointing_ms=None)
    text, partials = "", 0
    for packet in packets(samples[0].audio, 3, 2000):
        session.feed(packet)
        session.settle().result(10)
        for event in session.take():
            if isinstance(event, Partial):
                assert event.segment.text.startswith(text)
                text, partials = event.segment.text, partials + 1
            else:
                text = ""
    assert partials > 5
    unread = engine.open(latency_ms=80, endpointing_ms=None)
    unread.feed(samples[0].audio)
    unread.settle().result(10)
    assert sum(isinstance(event, Partial) for event in unread.take()) < partials


def test_endpointing_is_a_streams_own(engine: Engine, samples: list[Sample]) -> None:
    pause = np.zeros(16000, np.float32)
    audio = np.concatenate([samples[0].audio, pause, samples[1].audio, pause])

    def segments(milliseconds: int | None) -> int:
        session = engine.open(latency_ms=160, endpointing_ms=milliseconds)
        session.feed(audio)
        session.close()
        return len(finals(session))

    assert segments(160) > segments(1600)
    with pytest.raises(OptionError, match="endpointing_ms 10 is too short; it must be at least 80"):
        engine.open(endpointing_ms=10)


def test_other_rates(engine: Engine, recognizer: Recognizer, samples: list[Sample]) -> None:
    session = engine.open(sample_rate=48000, latency_ms=1120)
    for packet in packets(np.repeat(samples[0].audio, 3), 1):
        session.feed(packet)
    session.close()
    with recognizer.stream(sample_rate=48000, latency_ms=1120) as stream:
        expected = stream.feed(np.repeat(samples[0].audio, 3)) + stream.finish()
    assert said(finals(session)) == said(finals(expected))


def test_what_is_wrong_is_said_at_once(engine: Engine) -> None:
    with pytest.raises(OptionError, match="100 ms is not offered"):
        engine.open(latency_ms=100)
    with pytest.raises(LanguageError, match="de-DX"):
        engine.open(language="de-DX")
    with engine.open() as session:
        with pytest.raises(LanguageError):
            session.set_language("xx-XX")
        with pytest.raises(OptionError):
            session.set_latency(90)
    with pytest.raises(StreamClosedError):
        session.feed(np.zeros(100, np.float32))
    with pytest.raises(StreamClosedError):
        session.finalize()
    session.close()  # twice is fine


@pytest.mark.parametrize(
    ("setter", "values", "name"),
    [
        (Session.set_language, (None,), "language"),
        (Session.set_language, ("auto", "de"), "languages"),
        (Session.set_latency, ([160],), "latency_ms"),
        (Session.set_latency, (160.0,), "latency_ms"),
        (Session.set_boost, (None,), "boost"),
        (Session.set_boost, (5,), "boost"),
    ],
)
def test_changes_of_another_type_are_named(
    engine: Engine, samples: list[Sample], setter: Callable[..., None], values: tuple[Any, ...], name: str
) -> None:
    """And the stream goes on."""
    with engine.open(latency_ms=320) as session:
        with pytest.raises(OptionError, match=f"^{name} is .*, not ") as caught:
            setter(session, *values)
        session.feed(samples[0].audio)
    assert caught.value.option == name
    assert finals(session)


def test_at_capacity(recognizer: Recognizer) -> None:
    with Engine(recognizer, max_streams=2) as engine:
        first, _second = engine.open(), engine.open()
        with pytest.raises(AtCapacity, match="2 streams are open, and max_streams is 2"):
            engine.open()
        recording = engine.open(recording=True)
        recording.close()
        first.close()
        list(first)
        assert engine.open() is not None
    with pytest.raises(OptionError, match="max_streams 0 is too small"):
        Engine(recognizer, max_streams=0)
    streams: Any
    for streams in ("4", 1.5):
        with pytest.raises(OptionError, match=f"max_streams is {streams!r}, not a whole number"):
            Engine(recognizer, max_streams=streams)


def test_the_capacity_is_measured(recognizer: Recognizer, samples: list[Sample]) -> None:
    with Engine(recognizer) as engine:
        before = engine.statistics
        assert before.capacity[1120] > 5
        sessions = [engine.open(latency_ms=1120) for _ in range(5)]
        for session in sessions:
            session.feed(samples[0].audio)
            session.close()
        assert all(finals(session) for session in sessions)
        after = engine.statistics
        assert after.streams == 0
        assert after.chunks >= 5
        assert after.steps > 0


def test_a_dropped_session_gives_its_place_back(recognizer: Recognizer, samples: list[Sample]) -> None:
    with Engine(recognizer, max_streams=1) as engine:
        for _ in range(3):
            session: Session | None = open_again(engine)
            assert session is not None
            session.feed(samples[0].audio)
            session.settle().result(10)
            session = None
            gc.collect()
            open_again(engine).abort()


@pytest.mark.parametrize("end", ["abort", "broken", "raised", "dropped"])
def test_the_place_of_a_stream_that_ended_is_free_at_once(recognizer: Recognizer, end: str) -> None:
    with Engine(recognizer, max_streams=1) as engine:
        for _ in range(20):
            session: Session | None = engine.open()
            assert session is not None
            if end == "abort":
                session.abort()
            elif end == "broken":
                with pytest.raises(AudioError):
                    session.feed(np.array([np.nan]))
            elif end == "raised":
                with suppress(KeyError), session:
                    raise KeyError
            session = None


def test_a_session_keeps_its_engine_and_a_stream_its_recognizer(
    random_model_folder: Path, recognizer: Recognizer, samples: list[Sample]
) -> None:
    session = Engine(recognizer, max_streams=1).open(latency_ms=1120)
    stream = nemotron_asr.load(random_model_folder).stream(latency_ms=1120)
    gc.collect()
    session.feed(samples[0].audio)
    session.close()
    expected = said(recognizer.transcribe((samples[0].audio, 16000)).segments)
    assert said(finals(session)) == expected
    assert said(finals([*stream.feed(samples[0].audio), *stream.finish()])) == expected


def open_again(engine: Engine) -> Session:
    """As soon as the engine has noticed."""
    for _ in range(500):
        try:
            return engine.open()
        except AtCapacity:
            threading.Event().wait(0.01)
    raise AssertionError("the place was not given back")


def test_many_threads_may_open_at_once(engine: Engine, recognizer: Recognizer, samples: list[Sample]) -> None:
    heard: dict[int, list[Segment]] = {}

    def speak(number: int) -> None:
        with engine.open(latency_ms=560) as session:
            for packet in packets(samples[number % 5].audio, number):
                session.feed(packet)
        heard[number] = finals(session)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(10):
        expected = recognizer.transcribe((samples[number % 5].audio, 16000), latency_ms=560)
        assert said(heard[number]) == said(expected.segments)


def test_the_next_batch_is_prepared_while_a_step_runs(
    engine: Engine, recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window of samples of a stream that comes meanwhile is cut before the running step has ended."""
    gate, running, prepared = threading.Event(), threading.Event(), threading.Event()
    step, window, late = recognizer.runner.step, Stream.window, engine.open(latency_ms=160)

    def gated(*arguments: Any) -> Any:
        running.set()
        assert gate.wait(10)
        return step(*arguments)

    def observed(stream: Stream, frames: int) -> Samples:
        cut = window(stream, frames)
        if running.is_set() and not gate.is_set():
            prepared.set()
        return cut

    monkeypatch.setattr(recognizer.runner, "step", gated)
    monkeypatch.setattr(Stream, "window", observed)
    first = engine.open(latency_ms=160)
    first.feed(samples[0].audio)
    assert running.wait(10)
    late.feed(samples[1].audio[:16_000])
    assert prepared.wait(10)
    gate.set()
    for session in (first, late):
        session.close()
        assert list(session)


def test_live_streams_go_before_recordings(
    engine: Engine, recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a folder is transcribed, a live chunk waits for one short step at most, not for the folder."""
    steps, step, turn = list[tuple[bool, int]](), recognizer.runner.step, threading.Semaphore(0)

    def gated(pool: Any, parts: list[Part], frames: int, chunk: int) -> Any:
        turn.acquire()
        steps.append((any(part.target.language == "en-US" for part in parts), frames * len(parts)))
        return step(pool, parts, frames, chunk)

    engine._loop.cost.add(1, 0.010)  # what a machine would have learnt: 10 ms a step, 1 ms a frame
    engine._loop.cost.add(101, 0.110)
    monkeypatch.setattr(StepCost, "add", lambda *_: None)
    monkeypatch.setattr(recognizer.runner, "step", gated)
    folder = [engine.open(latency_ms=1120, recording=True) for _ in range(8)]
    for session in folder:
        session.feed(np.concatenate([sample.audio for sample in samples]))
    live, released = engine.open(latency_ms=160, language="en"), 0
    for packet in np.array_split(samples[1].audio[: 10 * 2560 + 1000], 10):
        before = len(steps)
        live.feed(packet)
        settled = live.settle()
        while not settled.done():
            if released <= len(steps):  # one at a time: none is taken before the packet comes
                turn.release()
                released += 1
            threading.Event().wait(0.005)
        waited = [heard for heard, _ in steps[before:]]
        assert waited.count(True) <= 1
        assert True not in waited or waited.index(True) <= 2  # behind the one that runs and the one that is due
    assert sum(heard for heard, _ in steps) >= 8
    beside = [frames for heard, frames in steps[1:] if not heard]
    assert beside
    assert max(beside) <= 38  # 0.3 of a live chunk
    live.close()
    for session in folder:
        session.close()
    turn.release(10_000)
    assert all(finals(session) for session in folder)
    assert max(frames for _, frames in steps) > 300  # alone, they fill the machine
