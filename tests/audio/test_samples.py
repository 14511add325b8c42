import numpy as np
import pytest
from numpy.typing import NDArray

from nemotron_asr.audio import as_float32
from nemotron_asr.audio.samples import parts, to_mono
from nemotron_asr.errors import AudioError, OptionError


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-32768, 0, 1, 32767], np.int16), [-1, 0, 1 / 32768, 32767 / 32768]),
        (np.array([-32768, 1], ">i2"), [-1, 1 / 32768]),
        (np.array([-(2**31), 2**30, 256], np.int32), [-1, 0.5, 2**-23]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-1.5, 0.25], np.float64), [-1.5, 0.25]),
        (np.array([0.5], np.float16), [0.5]),
        ([0.5, -0.5], [0.5, -0.5]),
    ],
)
def test_every_type_is_scaled_exactly(samples: NDArray[np.generic], expected: list[float]) -> None:
    result = as_float32(samples)
    assert result.dtype == np.float32
    assert result.tolist() == expected


def test_every_int16_value_is_divided_by_32768() -> None:
    values = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(as_float32(values), values / np.float32(32768))


def test_float32_is_not_copied() -> None:
    samples = np.zeros(100, np.float32)
    assert np.shares_memory(as_float32(samples), samples)


@pytest.mark.parametrize("shape", [(100, 2), (2, 100), (3, 3), (100, 1), (1, 100)])
def test_the_smaller_axis_is_averaged(shape: tuple[int, int]) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    channels = 0 if shape[0] < shape[1] else 1
    np.testing.assert_allclose(as_float32(samples), samples.mean(axis=channels), atol=1e-7)


def test_stereo_int16_is_averaged_without_overflow() -> None:
    assert as_float32(np.array([[32767, 32767], [-32768, 0], [0, 0]], np.int16)).tolist() == [32767 / 32768, -0.5, 0]


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0)])
def test_an_empty_packet_stays_empty(shape: tuple[int, ...]) -> None:
    assert as_float32(np.zeros(shape, np.float32)).shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_is_named_with_its_place(value: float, kind: type[np.floating]) -> None:
    samples = np.zeros((2, 100), kind)
    samples[1, 42] = value
    samples[0, 77] = np.nan
    with pytest.raises(AudioError, match=f"^sample 42 is {value}, but audio lies in"):
        as_float32(samples)


@pytest.mark.parametrize("value", [20000.0, -9.0, 1e300])
def test_floats_far_outside_hint_at_integer_scaling(value: float) -> None:
    with pytest.raises(AudioError, match=r"sample 1 is .* integer samples need an integer type"):
        as_float32(np.array([0.0, value]))


def test_overshoot_is_audio() -> None:
    assert as_float32(np.array([-2.5, 1.01], np.float32)).tolist() == pytest.approx([-2.5, 1.01])


@pytest.mark.parametrize("kind", ["int64", "uint16", "bool", "complex64"])
def test_other_types_are_refused_with_the_choices(kind: str) -> None:
    with pytest.raises(AudioError, match=f"type {kind} .*int16, int32, uint8"):
        as_float32(np.zeros(10, kind))


@pytest.mark.parametrize("shape", [(), (2, 3, 4), (65, 65)])
def test_other_shapes_are_refused_with_the_choices(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match=r"\(samples, channels\)"):
        as_float32(np.zeros(shape, np.float32))


def test_one_channel_can_be_chosen() -> None:
    planes = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    np.testing.assert_array_equal(to_mono(planes, 1), planes[1])
    for missing in (-1, 2):
        with pytest.raises(OptionError, match=f"channel {missing} is not there; the channels are 0 to 1"):
            to_mono(planes, missing)


def test_long_arrays_are_cut_without_loss() -> None:
    samples = np.arange(2 * ((1 << 20) + 5)).reshape(2, -1)
    pieces = list(parts(samples))
    assert len(pieces) == 2
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), samples)
