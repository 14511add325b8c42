"""The thread that computes."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from nemotron_asr.engine.inbox import Inbox
from nemotron_asr.errors import EngineClosedError

T = TypeVar("T")


class Worker:
    """Runs one task after the other in a thread of its own, and tells what came of it."""

    def __init__(self) -> None:
        self._tasks = Inbox()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="nemotron-asr compute", daemon=True)
        self._thread.start()

    def start(self, task: Callable[[], T], done: Callable[[T | None, BaseException | None], Any]) -> None:
        """Run `task`, then call `done` with its result or its error, both in the worker's thread.

        After the end `done` gets an `EngineClosedError` at once.
        """

        def run() -> None:
            if self._ended:
                done(None, EngineClosedError("the engine is closed"))
                return
            try:
                result = task()
            except BaseException as error:  # noqa: BLE001 - whatever fails in a step ends its streams, not the engine
                done(None, error)
            else:
                done(result, None)

        self._tasks.put(run)

    def stop(self) -> None:
        """Finish what was started, and end."""
        self._tasks.put(self._end)
        self._thread.join()

    def _end(self) -> None:
        self._ended = True

    def _run(self) -> None:
        while not self._ended:
            self._tasks.make_one()
        self._tasks.close()
