"""A section of a foreign configuration, read strictly: every value is checked, and what is not implemented is named."""

import math
import reprlib
from collections.abc import Mapping
from typing import Any

from nemotron_asr.errors import ConfigError

MEL_DTYPES = ("float32", "bfloat16", "float16")
"""To what precision a front end may be rounded."""

_REQUIRED = object()
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxlong, _REPR.maxother = 2, 200, 200, 200
MAX_SIZE = 2**20
"""No width, count or vocabulary of a model comes near; what is larger is damage."""


class ConfigSection:
    """Typed access to a mapping of which nothing is trusted.

    Every method raises `ConfigError`, naming the key, the value and what is supported.
    """

    def __init__(self, values: object, where: str) -> None:
        """Wrap the mapping that `where` names in messages, e.g. `config.json: encoder_config`."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where} is {_short(values)}; it must be a mapping")
        self.values: Mapping[Any, Any] = values
        self.where = where

    def get(self, key: str, default: object = _REQUIRED) -> Any:
        """The value as it is; an absent key or a null gives the default."""
        value = self.values.get(key)
        if value is None:
            value = default
        if value is _REQUIRED:
            raise ConfigError(f"{self.where} has no {key}")
        return value

    def section(self, key: str, default: object = _REQUIRED) -> "ConfigSection":
        """A mapping inside this one."""
        return ConfigSection(self.get(key, default), f"{self.where}: {key}")

    def integer(self, key: str, default: object = _REQUIRED, low: int = 0, high: int = MAX_SIZE) -> int:
        """A whole number within limits."""
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, value, f"a whole number from {low} to {high}")
        return value

    def fraction(self, key: str, default: object = _REQUIRED) -> float:
        """A number from 0 to 1: a probability or a coefficient."""
        value = self.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1 or math.isnan(value):
            raise self._wrong(key, value, "a number from 0 to 1")
        return float(value)

    def flag(self, key: str, default: object = _REQUIRED) -> bool:
        """True or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def choice(self, key: str, *supported: str, default: str) -> str:
        """One of some words."""
        self.require(key, *supported, default=default)
        return str(self.values.get(key, default))

    def integers(self, key: str, default: object = _REQUIRED, high: int = MAX_SIZE) -> list[int]:
        """A list of whole numbers, not empty."""
        value = self.get(key, default)
        if not isinstance(value, list) or not value or not all(_is_count(item, high) for item in value):
            raise self._wrong(key, value, f"a list of whole numbers from 0 to {high}")
        return value

    def require(self, key: str, *supported: object, default: object = None) -> None:
        """Only some values are implemented; `default` is what an absent key means."""
        value = self.values.get(key, default)
        if not any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in supported):
            raise self._wrong(key, value, "; supported: " + ", ".join(map(_short, supported)), verb="is not supported")

    def _wrong(self, key: str, value: object, wanted: str, verb: str = "must be ") -> ConfigError:
        return ConfigError(f"{self.where}: {key} = {_short(value)} {verb}{wanted}")


def _is_count(value: object, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high


def _short(value: object) -> str:
    text = _REPR.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
