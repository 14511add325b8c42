from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.engine.punctuality import FEW, LONGEST, REMEMBERED, SHORTEST, Punctuality


class Machine:
    """Finishes chunks on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.punctuality = Punctuality(lambda: self.now)

    @property
    def behind(self) -> bool:
        return self.punctuality.behind

    def late(self, chunks: int) -> None:
        for _ in range(chunks):
            self.punctuality.served(late=True)

    def punctual(self, seconds: float, chunks_a_second: int = 100) -> Iterator[bool]:
        """Chunk by chunk, whether it is behind."""
        for _ in range(round(seconds * chunks_a_second)):
            self.now += 1 / chunks_a_second
            self.punctuality.served(late=False)
            yield self.behind

    def seconds_behind(self) -> float:
        """How long it has to be in time."""
        return sum(self.punctual(2 * LONGEST)) / 100


def test_a_few_late_chunks_of_a_burst_mean_nothing() -> None:
    machine = Machine()
    machine.late(FEW)
    assert not machine.behind
    machine.late(1)
    assert machine.behind


def test_who_serves_many_may_be_late_with_more_of_them() -> None:
    machine = Machine()
    assert not any(machine.punctual(REMEMBERED / 2, 1000))
    machine.late(15)
    assert not machine.behind
    machine.late(1)
    assert machine.behind


def test_a_hiccup_is_over_after_a_second() -> None:
    machine = Machine()
    assert not any(machine.punctual(REMEMBERED))
    machine.late(200)
    assert machine.seconds_behind() == pytest.approx(SHORTEST, abs=0.02)


def test_who_is_late_again_has_to_be_in_time_for_longer() -> None:
    machine, seconds = Machine(), []
    for _ in range(7):
        machine.late(200)
        seconds.append(0.0)
        for behind in machine.punctual(LONGEST + 5):
            if not behind:
                break
            seconds[-1] += 0.01
    assert seconds == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=0.02)
    assert not any(machine.punctual(REMEMBERED + 1))
    machine.late(200)
    assert machine.seconds_behind() == pytest.approx(SHORTEST, abs=0.02)


def test_a_machine_that_does_nothing_is_behind_until_that_is_forgotten() -> None:
    machine = Machine()
    machine.late(200)
    behind = []
    for seconds in (0, LONGEST - 1, LONGEST):
        machine.now = seconds
        behind.append(machine.behind)
    machine.late(1)
    assert [*behind, machine.behind] == [True, True, False, False]


def test_all_is_forgotten_when_everybody_has_left() -> None:
    machine = Machine()
    machine.late(200)
    machine.punctuality.forget()
    assert not machine.behind


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=300))
def test_whatever_was_it_is_in_time_again_after_half_a_minute(history: list[tuple[float, bool]]) -> None:
    machine = Machine()
    for seconds, late in history:
        machine.now += seconds
        machine.punctuality.served(late=late)
    assert not list(machine.punctual(LONGEST + 0.1))[-1]
    assert not any(machine.punctual(REMEMBERED))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.002, 1), st.integers(20, 200))
def test_lasting_lateness_keeps_people_out(share: float, chunks_a_second: int) -> None:
    """Of every thousand chunks more than one is late, evenly: once that is known, hardly anybody gets in."""
    machine, owed, behind = Machine(), 0.0, []
    for _ in range(300 * chunks_a_second):
        machine.now += 1 / chunks_a_second
        owed += share
        machine.punctuality.served(late=owed >= 1)
        owed -= owed >= 1
        behind.append(machine.behind)
    late_in_memory = share * chunks_a_second * REMEMBERED
    if late_in_memory > 2 * max(FEW, 0.001 * chunks_a_second * REMEMBERED):
        assert sum(behind[len(behind) // 2 :]) / len(behind) > 0.25
    if share * chunks_a_second > 1 / SHORTEST + 1:
        assert behind.index(True) / chunks_a_second <= (FEW + 1) / (share * chunks_a_second) + 0.1
        assert all(behind[behind.index(True) :])


@given(st.lists(st.floats(REMEMBERED / FEW + 1, 100), max_size=50))
def test_late_chunks_far_apart_keep_nobody_out(gaps: list[float]) -> None:
    machine = Machine()
    for gap in gaps:
        machine.now += gap
        machine.late(1)
        assert not machine.behind
