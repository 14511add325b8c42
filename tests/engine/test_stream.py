import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.audio import Samples
from nemotron_asr.engine.stream import KEPT, LOOK_BACK, UNKNOWN_END, Stream, Target, Work
from nemotron_asr.errors import StreamClosedError
from nemotron_asr.features import window_samples, window_start

AUTO = Target(101, "auto")


def silence(samples: int) -> Samples:
    return np.zeros(samples, np.float32)


def take(stream: Stream) -> Samples:
    """The window of the next work, which is done."""
    work = stream.next_work()
    assert work is not None
    frames = work.chunk * work.chunks
    window = stream.window(frames)
    stream.advance(work, frames)
    return window


@given(packets=st.lists(st.integers(0, 5000), max_size=20), chunk=st.sampled_from([1, 2, 4, 7, 14]))
def test_windows_are_the_slices_of_the_padded_audio(packets: list[int], chunk: int) -> None:
    audio = np.arange(1, sum(packets) + 1, dtype=np.float32)
    lead, tail = 1 - window_start(0), window_samples(80)
    padded = np.concatenate([np.zeros(lead, np.float32), audio, np.zeros(tail, np.float32)])
    stream, position = Stream(0, AUTO, chunk), 0

    def check() -> None:
        first = window_start(stream.t) - 1 + lead
        window = take(stream)
        assert np.array_equal(window, padded[first : first + len(window)])

    for packet in packets:
        stream.feed(audio[position : position + packet])
        position += packet
        while stream.next_work():
            check()
    stream.close()
    while stream.next_work():
        check()
    assert stream.t >= len(audio) // 1280


def test_a_window_that_was_prepared_too_early_is_made_again() -> None:
    stream = Stream(0, AUTO, 1)
    stream.feed(np.ones(300, np.float32))
    early = stream.window(2)
    stream.feed(np.ones(2000, np.float32))
    assert stream.window(2) is not early
    assert stream.window(2).sum() > early.sum()
    assert stream.window(2) is stream.window(2)


def test_a_frame_becomes_available_with_its_last_sample() -> None:
    stream = Stream(0, AUTO, 1)
    stream.feed(silence(255))
    assert stream.next_work() is None
    stream.feed(silence(1))
    assert stream.next_work() == Work(1, 1)
    stream.feed(silence(1280))
    assert stream.next_work() == Work(1, 2)


def test_what_was_heard_is_not_kept() -> None:
    stream = Stream(0, AUTO, 1)
    for _ in range(1000):
        stream.feed(silence(1280))
        while stream.next_work():
            take(stream)
    assert len(stream._audio) < window_samples(2)


def test_a_closed_stream_takes_no_more_and_rounds_up_to_few_shapes() -> None:
    stream = Stream(0, AUTO, 2)
    stream.feed(silence(10 * 1280))
    stream.close()
    assert stream.next_work() == Work(2, 8, 10 * 1280)
    with pytest.raises(StreamClosedError, match="has ended"):
        stream.feed(silence(1))


def test_an_empty_stream_has_nothing_to_do() -> None:
    stream = Stream(0, AUTO, 2)
    stream.close()
    assert stream.next_work() is None


def test_a_change_holds_from_the_first_chunk_that_starts_behind_it() -> None:
    stream = Stream(0, AUTO, 4)
    stream.feed(silence(5 * 1280))
    stream.change(Target(9, "de-DE"), 2)
    stream.feed(silence(20 * 1280))
    work = stream.next_work()
    assert work == Work(4, 2)  # frames 0 to 7: the change was asked for in frame 5
    stream.advance(work, 8)
    work = stream.next_work()
    assert work is not None
    assert (work.chunk, stream.target.language) == (2, "de-DE")


@given(
    position=st.integers(0, 40_000),
    packets=st.lists(st.integers(100, 9000), min_size=1, max_size=8),
    chunk=st.sampled_from([1, 2, 4, 7, 14]),
)
@settings(deadline=None, max_examples=40)
def test_when_a_change_holds_depends_on_its_place_alone(position: int, packets: list[int], chunk: int) -> None:
    """However the audio is packed, and however late the stream is served."""

    def boundary(eager: bool) -> int:
        stream, fed, turn = Stream(0, AUTO, chunk), 0, 0
        while fed < 80_000:
            if fed == position:
                stream.change(Target(9, "de-DE"))
            size = packets[turn % len(packets)]
            size = position - fed if fed < position < fed + size else size
            stream.feed(silence(size))
            fed, turn = fed + size, turn + 1
            while eager and stream.target == AUTO and (work := stream.next_work()) and stream.target == AUTO:
                stream.advance(work, work.chunk)
        while stream.target == AUTO and (work := stream.next_work()) and stream.target == AUTO:
            stream.advance(work, work.chunk)
        return stream.t

    expected = -(-position // (1280 * chunk)) * chunk
    assert boundary(eager=True) == boundary(eager=False) == expected


def test_a_flush_looks_ahead_from_where_whole_chunks_end() -> None:
    stream = Stream(0, AUTO, 4)
    stream.feed(silence(6 * 1280))
    stream.flush()
    stream.feed(silence(20 * 1280))
    work = stream.next_work()
    assert work == Work(4, 1)
    stream.advance(work, 4)
    assert stream.next_work() == Work(4, 1, 6 * 1280, flush=True)
    stream.flushed(last_frame=4)
    assert (stream.t, stream.decoded) == (4, 6)  # frame 6 lacks samples: it is decoded again
    work = stream.next_work()
    assert work is not None
    assert work.end == UNKNOWN_END


def test_a_flush_of_what_was_said_is_empty() -> None:
    stream = Stream(0, AUTO, 4)
    stream.flush()
    assert stream.next_work() == Work(4, 0, 0, flush=True)
    stream.flushed(-1)
    stream.feed(silence(3 * 1280))
    for last_frame in (-1, 3):
        stream.flush()
        work = stream.next_work()
        assert work is not None
        assert work.flush
        assert work.chunks == 1
        stream.flushed(last_frame)
    stream.flush()
    assert stream.next_work() == Work(4, 0, 3 * 1280, flush=True)


def test_a_stream_begins_anew_shortly_before_the_voice() -> None:
    """What was heard before it is zero, times go on, and no sample of the voice is lost."""
    stream, voice = Stream(0, AUTO, 2, kept=KEPT), 90 * 1280 + 700
    audio = np.arange(1, 100 * 1280, dtype=np.float32)
    stream.feed(audio[:voice])
    while stream.next_work():
        take(stream)
    stream.begin_anew(voice, voice + 1536)
    stream.feed(audio[voice:])
    while stream.next_work() and not stream.anew:
        take(stream)
    assert stream.origin == stream.t == stream.decoded == 90 - LOOK_BACK
    first, window = window_start(stream.t) - 1, take(stream)
    before = 1280 * stream.origin - first
    assert not window[:before].any()
    assert np.array_equal(window[before:], audio[1280 * stream.origin : first + len(window)])
    assert stream.t > 90


@given(
    gaps=st.lists(st.integers(60 * 1280, 80 * 1280), max_size=2),
    calls=st.lists(st.tuples(st.integers(0, 90_000), st.sampled_from(["flush", 1, 2, 4, 14])), max_size=6),
    packet=st.integers(300, 40_000),
    chunk=st.sampled_from([1, 4, 14]),
)
@settings(deadline=None, max_examples=150)
def test_where_a_stream_begins_anew_depends_on_the_audio_alone(
    gaps: list[int], calls: list[tuple[int, str | int]], packet: int, chunk: int
) -> None:
    """However it is packed, however late it is served, whatever else is asked for."""
    voices = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    places = [(sum(gap for gap, _ in calls[: i + 1]), what) for i, (_, what) in enumerate(calls)]
    end = max([100_000, *(voice + 20_000 for voice in voices)])

    def heard(packet: int, *, eager: bool) -> list[tuple[object, ...]]:
        stream, told, waiting = Stream(0, AUTO, chunk, kept=KEPT), list[tuple[object, ...]](), list(places)
        for start in range(0, end, packet):
            until = min(end, start + packet)
            cuts = [place for place, _ in waiting if start <= place < until]
            for first, last in zip([start, *cuts], [*cuts, until], strict=True):
                for voice in voices:
                    if first < voice + 1536 <= last:
                        stream.begin_anew(voice, voice + 1536)
                stream.feed(silence(last - first))
                if last in cuts:
                    what = waiting.pop(0)[1]
                    stream.flush() if what == "flush" else stream.change(chunk=int(what))
                if eager:
                    told += served(stream)
        return told + served(stream)

    once = heard(end, eager=False)
    assert heard(packet, eager=True) == heard(packet, eager=False) == once
    assert {origin for origin, *_ in once} == {0, *(voice // 1280 - LOOK_BACK for voice in voices)}


def served(stream: Stream) -> list[tuple[object, ...]]:
    """The chunks and flushes that a stream does now: where, in which epoch, how long."""
    told: list[tuple[object, ...]] = []
    while (work := stream.next_work()) is not None:
        told += [(stream.origin, stream.t + i * work.chunk, work.chunk, work.flush) for i in range(work.chunks)]
        if work.flush:
            stream.flushed(-1)
        else:
            stream.advance(work, work.chunk * work.chunks)
    return told
