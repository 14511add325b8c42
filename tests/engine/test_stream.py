import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.engine.stream import Stream
from nemotron_asr.errors import StreamClosedError
from nemotron_asr.features import window_samples, window_start


@given(packets=st.lists(st.integers(0, 5000), max_size=20), chunk=st.sampled_from([1, 2, 4, 7, 14]))
def test_windows_are_the_slices_of_the_padded_audio(packets: list[int], chunk: int) -> None:
    audio = np.arange(1, sum(packets) + 1, dtype=np.float32)
    lead, tail = 1 - window_start(0), window_samples(40)
    padded = np.concatenate([np.zeros(lead, np.float32), audio, np.zeros(tail, np.float32)])
    stream, position = Stream(row=0, prompt=0), 0

    def check() -> None:
        first = window_start(stream.t) - 1 + lead
        assert np.array_equal(stream.take(chunk), padded[first : first + 1 + window_samples(chunk)])

    for packet in packets:
        stream.feed(audio[position : position + packet])
        position += packet
        while stream.available >= chunk:
            check()
    stream.close()
    while stream.available > 0:
        check()
    assert stream.t >= len(audio) // 1280


def test_a_frame_becomes_available_with_its_last_sample() -> None:
    stream = Stream(row=0, prompt=0)
    stream.feed(np.zeros(255, np.float32))
    assert stream.available == 0
    stream.feed(np.zeros(1, np.float32))
    assert stream.available == 1
    stream.feed(np.zeros(1280, np.float32))
    assert stream.available == 2


def test_what_was_heard_is_not_kept() -> None:
    stream = Stream(row=0, prompt=0)
    for _ in range(1000):
        stream.feed(np.zeros(1280, np.float32))
        while stream.available:
            stream.take(1)
    assert sum(block.size for block in stream._blocks) < window_samples(2)


def test_a_closed_stream_takes_no_more() -> None:
    stream = Stream(row=0, prompt=0)
    stream.close()
    with pytest.raises(StreamClosedError, match="has ended"):
        stream.feed(np.zeros(1, np.float32))
