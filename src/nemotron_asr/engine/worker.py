"""The thread that computes."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs one task after the other in a thread of its own, and tells what came of it."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="nemotron-asr compute", daemon=True)
        self._thread.start()

    def start(self, task: Callable[[], T], done: Callable[[T | None, Exception | None], Any]) -> None:
        """Run `task`, then call `done` with its result or its error, both in the worker's thread."""

        def run() -> None:
            try:
                result = task()
            except Exception as error:  # noqa: BLE001 - whatever fails in a step ends its streams, not the engine
                done(None, error)
            else:
                done(result, None)

        self._tasks.put(run)

    def stop(self) -> None:
        """Finish what was started, and end."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
