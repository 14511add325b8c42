"""Threads that compute something together."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock
from typing import Final, TypeVar

import numpy as np
import torch

from nemotron_asr.engine.packed.layout import Longs

Thing = TypeVar("Thing")
Made = TypeVar("Made")

ASIDE = 16
"""Numbers in an array of which one is used: it shares no cache line with what another thread writes."""


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
        if self.threads == 1:
            task(0, arrivals, counter())
            return
        with self._turn:
            others = [self._helpers.submit(task, number, arrivals, counter()) for number in range(1, self.threads)]
            task(0, arrivals, counter())
            for other in others:
                other.result()

    def share(self, make: Callable[[Thing], Made], things: Sequence[Thing]) -> list[Made]:
        """What a function makes of each thing. Every thread takes some of them; it waits for no other."""

        @torch.inference_mode()
        def some(first: int) -> list[Made]:
            return [make(thing) for thing in things[first :: self.threads]]

        others = [self._helpers.submit(some, first) for first in range(1, min(self.threads, len(things)))]
        made = [some(0), *(other.result() for other in others)]
        return [made[i % self.threads][i // self.threads] for i in range(len(things))]

    def parts(self, n: int) -> list[tuple[int, int]]:
        """Equal ranges of n things, one for each thread, as far as there are any."""
        count = min(self.threads, n)
        return list(pairwise(n * i // count for i in range(count + 1)))


SOLO = Team(1)
"""No helpers."""


def counter() -> Longs:
    """A number that threads wait for, see `Thread`."""
    return np.zeros(ASIDE, np.int64)
