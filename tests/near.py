"""Compares what was heard twice, as closely as sums of floats allow."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest


def leaves(heard: Any) -> list[Any]:
    """Every text, time and confidence in events, segments, words or sequences of them, in order."""
    return list(_leaves(heard))


def near(heard: Any) -> Any:
    """The same texts at the same times with the same confidence.

    Some machines round sums differently in steps of other sizes; so the fourth digit of a confidence may differ.
    """
    return pytest.approx(leaves(heard), abs=1e-3)


def _leaves(heard: Any) -> Iterator[Any]:
    if is_dataclass(heard):
        yield type(heard).__name__
        for field in fields(heard):
            yield from _leaves(getattr(heard, field.name))
    elif isinstance(heard, (list, tuple)):
        for each in heard:
            yield from _leaves(each)
    else:
        yield heard
