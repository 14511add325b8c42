import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.engine.stream import UNKNOWN_END, Samples, Stream, Target, Work
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
    assert sum(block.size for block in stream._blocks) < window_samples(2)


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
