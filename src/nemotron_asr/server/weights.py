"""Other services' scales of boosting -> ours, where 1 is usual, and one more makes a phrase ten times as likely."""

import math

from nemotron_asr.decoding.boosting import MOST_WEIGHT
from nemotron_asr.server.problems import invalid

USUAL_IN_RIVA = 4.0
"""What Riva's own clients send unless they are told otherwise."""


def from_riva(boost: float) -> float:
    """The weight of a Riva `boost`: a score whose usual values are from 2 to 100, read as a ratio.

    4 is 1, and ten times as much is one more: 20 is 1.7, 100 is 2.4. Nothing (0) is the usual weight. Negative ones,
    which make a phrase less likely there, are 0, which has no effect: the search can prefer words, not avoid them.

    Raises:
        Problem: it is no number.
    """
    _check(boost)
    if boost == 0:
        return 1.0
    return _within(1 + math.log10(boost / USUAL_IN_RIVA)) if boost > 0 else 0.0


def from_deepgram(intensifier: float) -> float:
    """The weight of a Deepgram `intensifier`, an exponent like ours: 1 is usual there, too.

    Negative ones are 0, as those of Riva are.

    Raises:
        Problem: it is no number.
    """
    _check(intensifier)
    return _within(intensifier)


def _check(value: float) -> None:
    if not math.isfinite(value):
        raise invalid(f"boost is {value}; it must be a number", "boost")


def _within(weight: float) -> float:
    return min(max(weight, 0.0), MOST_WEIGHT)
