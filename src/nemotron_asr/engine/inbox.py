"""Calls that one thread makes for all others."""

import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock
from typing import Any

from nemotron_asr.errors import EngineClosedError


class Inbox:
    """Calls in the order in which they came.

    Once it is closed nobody waits in vain for a thread that has ended: whoever puts a call in makes it.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._closed = False
        self._lock = RLock()  # whoever makes a call may drop a session, which puts one in
        self._process = os.getpid()

    def check_process(self) -> None:
        """Look whether the thread is there.

        Raises:
            EngineClosedError: this process was forked from the one that has it.
        """
        if os.getpid() != self._process:
            raise EngineClosedError("this engine is another process's; load the model after forking, or use spawn")

    def put(self, call: Callable[[], Any]) -> None:
        """Have a call made.

        Raises:
            EngineClosedError: as `check_process`.
        """
        self.check_process()
        self._calls.put(call)
        if self._closed:
            self.close()

    def make_one(self, timeout: float | None = None) -> None:
        """Wait for a call, and make it; at most for so many seconds."""
        try:
            call = self._calls.get(timeout=timeout)
        except Empty:
            return
        call()

    def make_all(self) -> None:
        """Make the calls that are there. One of them, or the garbage collector, may do so meanwhile."""
        while call := self._next():
            call()

    def _next(self) -> Callable[[], Any] | None:
        with suppress(Empty):
            return self._calls.get_nowait()
        return None

    def close(self) -> None:
        """The thread ends: it makes the last calls, and leaves later ones to whoever puts them in."""
        with self._lock:
            self._closed = True
            self.make_all()
