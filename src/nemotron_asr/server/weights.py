"""Weights of phrases as other services have them -> ours, in which each unit makes a phrase ten times likelier."""

from nemotron_asr.decoding.boosting import MOST_WEIGHT


def from_deepgram(intensifier: float) -> float:
    """The weight of a keyword's intensifier.

    Deepgram's is an exponent as ours is, 1 by default, without effect at 0; one below 0 asks for fewer of a word, which
    is not offered, and has no effect either.
    """
    return min(max(intensifier, 0.0), MOST_WEIGHT)
