"""Where the time of a step goes."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nemotron_asr.engine.runner import Runner

STAGES = {"features": "mel", "encode": "encoder", "fuse": "prompt", "decode": "decode"}
"""Methods of a runner, and what their time is called."""


@dataclass
class Profile:
    """Seconds per stage of all steps, and what they were for.

    Of a step that is shared out among threads, the share of the one that began it counts.
    """

    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES.values(), 0.0))
    steps: int = 0
    rows: int = 0
    elapsed: float = 0.0
    thread: int = 0  # that began the last step

    @property
    def glue(self) -> float:
        """Share of the steps' time that is none of the stages."""
        return 1 - sum(self.stages.values()) / self.elapsed if self.elapsed else 0.0


@contextmanager
def profiled(runner: Runner) -> Iterator[Profile]:
    """Watch a runner's stages while the context lasts."""
    profile = Profile()
    for method, stage in STAGES.items():
        setattr(runner, method, _timed(getattr(runner, method), profile, stage))
    step = runner.step

    def counted(pool: Any, parts: Sequence[Any], *shape: int) -> Any:
        began, profile.thread = time.perf_counter(), threading.get_ident()
        try:
            return step(pool, parts, *shape)
        finally:
            profile.elapsed += time.perf_counter() - began
            profile.steps, profile.rows = profile.steps + 1, profile.rows + len(parts)

    setattr(runner, "step", counted)  # noqa: B010 - an instance's own method, for a while
    try:
        yield profile
    finally:
        for method in [*STAGES, "step"]:
            delattr(runner, method)


def _timed(method: Callable[..., Any], profile: Profile, stage: str) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            if threading.get_ident() == profile.thread:
                profile.stages[stage] += time.perf_counter() - began

    return timed
