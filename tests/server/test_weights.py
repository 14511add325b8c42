import math

import pytest

from nemotron_asr.decoding.boosting import MOST_WEIGHT, phrase_weights
from nemotron_asr.server.problems import Problem
from nemotron_asr.server.weights import from_deepgram, from_riva


@pytest.mark.parametrize("of", [from_riva, from_deepgram])
def test_more_there_is_never_less_here(of: type[float]) -> None:
    weights = [of(value) for value in (-1e30, -1, 0.001, 0.5, 1, 2, 3, 4, 20, 100, 1e30)]
    assert weights == sorted(weights)
    assert weights[0] == 0
    assert weights[-1] == MOST_WEIGHT
    assert phrase_weights({f"phrase {i}": weight for i, weight in enumerate(weights)})  # all are offered


@pytest.mark.parametrize(("boost", "weight"), [(0.0, 1.0), (4.0, 1.0), (40.0, 2.0), (20.0, 1.7), (100.0, 2.4)])
def test_usual_values_of_riva(boost: float, weight: float) -> None:
    assert from_riva(boost) == pytest.approx(weight, abs=0.01)


def test_usual_values_of_deepgram() -> None:
    assert from_deepgram(1.0) == 1.0
    assert from_deepgram(2.5) == 2.5


@pytest.mark.parametrize("of", [from_riva, from_deepgram])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number(of: type[float], value: float) -> None:
    with pytest.raises(Problem, match="number"):
        of(value)
