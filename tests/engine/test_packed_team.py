"""Threads that compute together: one that fails leaves nobody waiting, and nobody computing behind its back."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from nemotron_asr.engine.packed.layout import Longs
from nemotron_asr.engine.packed.team import Team


class FaultError(Exception):
    pass


def meet(team: Team, number: int, arrivals: Longs, failing: int) -> None:
    """What compiled code does at a barrier."""
    if number == failing:
        raise FaultError
    arrivals[0] += 1
    while arrivals[0] < team.threads:
        time.sleep(0.001)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_nobody_waits_for_one_that_has_failed(failing: int) -> None:
    team = Team(3)
    with pytest.raises(FaultError):
        team.run(lambda number, arrivals, _: meet(team, number, arrivals, failing))
    done = list[int]()
    team.run(lambda number, *_: done.append(number))
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("failing", [0, 2])
def test_nothing_is_computed_behind_a_failure(failing: int) -> None:
    done = list[int]()

    def make(thing: int) -> None:
        if thing == failing:
            raise FaultError
        time.sleep(0.05)
        done.append(thing)

    with pytest.raises(FaultError):
        Team(3).share(make, range(3))
    assert len(done) == 2


def test_a_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    submit, asked = ThreadPoolExecutor.submit, list[int]()

    def once(self: ThreadPoolExecutor, *call: Any) -> Future[Any]:
        asked.append(1)
        if len(asked) == 2:
            raise RuntimeError("can't start new thread")
        return submit(self, *call)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", once)
    team = Team(3)
    with pytest.raises(RuntimeError, match="new thread"):
        team.run(lambda number, arrivals, _: meet(team, number, arrivals, failing=3))
