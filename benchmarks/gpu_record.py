"""What was found so far: written after every part, so that none is lost with one that fails or is broken off."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Record:
    """All that is found.

    Args:
        out: a file for it, as JSON, or nothing.
        deadline: seconds from now on within which everything should be over.
    """

    def __init__(self, out: str, deadline: float) -> None:
        self.found: dict[str, Any] = {}
        self._out, self._ends = out, time.monotonic() + deadline

    def has_time(self, seconds: float = 0.0) -> bool:
        """Whether what takes so many seconds is still over before the deadline."""
        return time.monotonic() + seconds < self._ends

    def measure(self, found: dict[str, Any], name: str, work: Callable[[], Any], seconds: float = 0.0) -> None:
        """`found[name]` becomes the result of some work, if there is time for it."""
        if self.has_time(seconds):
            with self.guarded(found, name):
                self.keep(found, name, work())

    @contextmanager
    def guarded(self, found: dict[str, Any], name: str) -> Iterator[None]:
        """What fails within is written down as `found[name]`; what follows is measured all the same."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it was, other parts may work
            print(f"  {name} failed: {type(error).__name__}: {error}".splitlines()[0], flush=True)
            found[name] = {"failed": traceback.format_exc()}
        self.write()

    def keep(self, found: dict[str, Any], name: str, value: Any) -> None:
        """Print a result, and write it down."""
        found[name] = value
        print(f"  {name}: {json.dumps(value, default=float)}", flush=True)
        self.write()

    def write(self) -> None:
        """Keep what is there."""
        if self._out:
            Path(self._out).write_text(json.dumps(self.found, indent=2, default=float), encoding="utf-8")
