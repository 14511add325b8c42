"""Typed access to configurations of which nothing is trusted."""

from collections.abc import Callable

import pytest

from nemotron_asr.checkpoint.config_section import ConfigSection
from nemotron_asr.errors import ConfigError

SETTINGS = ConfigSection(
    {"n": 3, "zero": 0, "huge": 10**30, "text": "a", "yes": True, "half": 0.5, "nan": float("nan"), "none": None,
     "list": [1, 2], "empty": [], "inner": {"n": 4}, "long": "x" * 500},
    "config.json",
)  # fmt: skip


def test_values() -> None:
    assert SETTINGS.integer("n") == 3
    assert SETTINGS.integer("absent", 7) == SETTINGS.integer("none", 7) == 7
    assert SETTINGS.fraction("half") == 0.5
    assert SETTINGS.fraction("zero") == 0.0
    assert SETTINGS.flag("yes") is True
    assert SETTINGS.integers("list") == [1, 2]
    assert SETTINGS.section("inner").integer("n") == 4
    assert SETTINGS.section("absent", {}).integer("n", 1) == 1
    assert SETTINGS.choice("text", "a", "b", default="b") == "a"
    assert SETTINGS.choice("absent", "a", "b", default="b") == "b"


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: SETTINGS.integer("absent"), "config.json has no absent"),
        (lambda: SETTINGS.integer("none"), "config.json has no none"),
        (lambda: SETTINGS.integer("huge"), r"huge = 10{30} must be a whole number from 0 to 1048576"),
        (lambda: SETTINGS.integer("yes"), "yes = True must be a whole number"),
        (lambda: SETTINGS.integer("half"), "half = 0.5 must be a whole number"),
        (lambda: SETTINGS.integer("zero", low=1), "zero = 0 must be a whole number from 1"),
        (lambda: SETTINGS.fraction("n"), "n = 3 must be a number from 0 to 1"),
        (lambda: SETTINGS.fraction("nan"), "nan = nan must be a number from 0 to 1"),
        (lambda: SETTINGS.flag("zero"), "zero = 0 must be true or false"),
        (lambda: SETTINGS.integers("empty"), r"empty = \[\] must be a list of whole numbers"),
        (lambda: SETTINGS.integers("n"), "n = 3 must be a list"),
        (lambda: SETTINGS.section("n"), "config.json: n is 3; it must be a mapping"),
        (lambda: SETTINGS.section("inner").integer("m"), "config.json: inner has no m"),
        (lambda: SETTINGS.choice("long", "a", "b", default="a"), r"long = 'x{56}\.{3} is not supp.*: 'a', 'b'"),
        (lambda: SETTINGS.require("yes", 1), "yes = True is not supported; supported: 1"),
        (lambda: SETTINGS.require("absent", 1, default=2), "absent = 2 is not supported; supported: 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(read: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read()


def test_whole_numbers_and_floats_are_the_same_constant() -> None:
    settings = ConfigSection({"a": 2, "b": 2.0, "c": False}, "x")
    settings.require("a", 2.0)
    settings.require("b", 2)
    with pytest.raises(ConfigError, match="c"):
        settings.require("c", 0)
