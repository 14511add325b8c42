"""What strangers may send: nearly right, mostly wrong."""

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
"""A longer hunt: FUZZ_EXAMPLES=2000 pytest tests/server/fuzz."""

_Settings = partial(settings, deadline=None, suppress_health_check=list(HealthCheck))

Bounded, Quick = _Settings(max_examples=_EXAMPLES), _Settings(max_examples=2 * _EXAMPLES)
"""For examples that go through real sockets, and for those that do not."""

Slow = _Settings(max_examples=_EXAMPLES // 4)
"""For those that start a process that decodes media."""

_TEXTS = ["", "tiny", "de", "multi", "auto", "\0", "\r\n", "9" * 5000]
TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(_TEXTS)

NUMBERS = st.integers() | st.sampled_from([0, -1, 80, 320, 8000, 16_000, 2**31, 2**63, 10**400]) | st.floats()

ANYTHING: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def some_of(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """An object that has any of these fields, each as it may be or anything else."""
    optional: Mapping[str, SearchStrategy[Any]] = {name: of | ANYTHING for name, of in fields.items()}
    return st.fixed_dictionaries({}, optional=dict(optional))


def one_of(*values: Any) -> SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def as_json(draw: st.DrawFn, objects: SearchStrategy[Any]) -> str:
    """An object as text, seldom cut off."""
    text = json.dumps(draw(objects))
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


@st.composite
def spoilt(draw: st.DrawFn, data: SearchStrategy[bytes]) -> bytes:
    """Bytes of which some are others, or missing."""
    whole = bytearray(draw(data))
    for _ in range(draw(st.integers(0, 3)) if whole else 0):
        place = draw(st.integers(0, len(whole) - 1))
        whole[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
        if not whole:
            break
    return bytes(whole)


SOUND = st.binary(max_size=64) | st.integers(0, 8000).map(bytes)
"""Audio, mostly none."""
