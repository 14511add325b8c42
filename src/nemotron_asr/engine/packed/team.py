"""Threads that compute something together."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock
from typing import Any, Final, TypeVar

import numpy as np
import torch

from nemotron_asr.engine.packed.layout import Longs

Thing = TypeVar("Thing")
Made = TypeVar("Made")

ASIDE = 16
"""Numbers in an array of which one is used: it shares no cache line with what another thread writes."""


BROKEN = 1 << 62
"""Arrivals for which nobody waits: one of a team has failed."""


class Team:
    """A thread and its helpers, who wait for each other while they compute.

    Tasks take turns: two at once could each hold helpers that the other waits for.

    Attributes:
        threads: how many they are; they stay so, for those who are computing count each other.
    """

    def __init__(self, threads: int) -> None:
        self.threads: Final = threads
        self._helpers = ThreadPoolExecutor(max(1, threads - 1), "nemotron-asr packed")
        self._turn = Lock()

    def run(self, task: Callable[[int, Longs, Longs], None]) -> None:
        """Call a task in every thread, with the thread's number and its `Thread.arrivals` and `Thread.awaited`."""
        arrivals = counter()

        def member(number: int) -> None:
            with _freeing(arrivals):
                task(number, arrivals, counter())

        if self.threads == 1:
            member(0)
            return
        with self._turn, self._helping() as others, _freeing(arrivals):
            for number in range(1, self.threads):
                others.append(self._helpers.submit(member, number))
            member(0)

    def share(self, make: Callable[[Thing], Made], things: Sequence[Thing]) -> list[Made]:
        """What a function makes of each thing. Every thread takes some of them; it waits for no other."""

        @torch.inference_mode()
        def some(first: int) -> list[Made]:
            return [make(thing) for thing in things[first :: self.threads]]

        made = list[list[Made]]()
        with self._helping() as others:
            for first in range(1, min(self.threads, len(things))):
                others.append(self._helpers.submit(some, first))
            made.append(some(0))
        made += [other.result() for other in others]
        return [made[i % self.threads][i // self.threads] for i in range(len(things))]

    @contextmanager
    def _helping(self) -> Iterator[list[Future[Any]]]:
        """What helpers do; all of it has ended with the context, even where something failed."""
        others = list[Future[Any]]()
        try:
            yield others
        finally:
            wait(others)
        for other in others:
            other.result()

    def parts(self, n: int) -> list[tuple[int, int]]:
        """Equal ranges of n things, one for each thread, as far as there are any."""
        count = min(self.threads, n)
        return list(pairwise(n * i // count for i in range(count + 1)))


@contextmanager
def _freeing(arrivals: Longs) -> Iterator[None]:
    """Who fails leaves nobody waiting; what the others compute then is worth nothing."""
    try:
        yield
    except BaseException:
        arrivals[0] = BROKEN
        raise


SOLO = Team(1)
"""No helpers."""


def counter() -> Longs:
    """A number that threads wait for, see `Thread`."""
    return np.zeros(ASIDE, np.int64)
