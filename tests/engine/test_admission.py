import math

import pytest

from nemotron_asr.engine.admission import DELAYS, Admission
from nemotron_asr.engine.cost import Capacity, StepCost
from nemotron_asr.errors import AtCapacity


def machine() -> Capacity:
    cost = StepCost()
    for frames in (1, 8, 14, 112):
        cost.add(frames, 0.012 + 0.002 * frames)
    return Capacity(cost)


def test_a_given_number_is_the_limit() -> None:
    admission = Admission(Capacity(), max_streams=2)
    admission.enter("a", 1)
    admission.enter("b", 14)
    with pytest.raises(AtCapacity, match="2 streams are open, and max_streams is 2"):
        admission.enter("c", 1)
    admission.leave("a")
    assert admission.limit(1) == 1
    admission.enter("c", 1)


def test_the_measured_capacity_is_the_limit() -> None:
    admission = Admission(machine())
    most = admission.limit(1)
    for i in range(most):
        admission.enter(i, 1)
    with pytest.raises(AtCapacity, match=f"sustains {most} streams at 80 ms, and they are open"):
        admission.enter("one more", 1)
    with pytest.raises(AtCapacity, match=rf"sustains 0 streams at 1120 ms beside {most} at other latencies"):
        admission.enter("one more", 14)


def test_changing_the_latency_is_admitted_or_refused() -> None:
    admission = Admission(machine())
    most = admission.limit(14)
    for i in range(most):
        admission.enter(i, 14)
    with pytest.raises(AtCapacity, match="at 80 ms beside"):
        admission.move(0, 1)
    assert admission.lanes() == {14: most}
    admission.move(0, 14)
    for i in range(2, most):
        admission.leave(i)
    admission.move(0, 1)
    assert admission.lanes() == {14: 1, 1: 1}
    admission.move("a recording", 1)
    assert admission.lanes().total() == 2


def test_nobody_comes_in_while_chunks_are_late() -> None:
    now = 0.0
    admission = Admission(machine(), clock=lambda: now)
    admission.enter("a", 4)
    for _ in range(10):
        admission.served(1.0, late=True)
    with pytest.raises(AtCapacity, match="1 streams are open, and the machine is late with them already"):
        admission.enter("b", 4)
    with pytest.raises(AtCapacity, match="late with them already"):
        admission.move("a", 14)
    now = 1.1
    admission.served(0.03, late=False)
    admission.enter("b", 4)
    assert (admission.chunks, admission.late) == (11, 10)


def test_lateness_is_forgotten_when_everybody_has_left() -> None:
    admission = Admission(machine(), clock=lambda: 0.0)
    for who in ("a", "b"):
        admission.enter(who, 4)
    for _ in range(10):
        admission.served(1.0, late=True)
    admission.leave("a")
    with pytest.raises(AtCapacity, match="late with them already"):
        admission.enter("c", 4)
    admission.leave("b")
    admission.enter("c", 4)


def test_a_number_that_was_given_holds_while_chunks_are_late() -> None:
    admission = Admission(Capacity(), max_streams=2)
    admission.enter("a", 4)
    for _ in range(10):
        admission.served(1.0, late=True)
    admission.enter("b", 4)


def test_delays_are_sorted() -> None:
    admission = Admission(Capacity(StepCost()), 4)
    for delay in (0.001, 0.01, 0.011, 0.3, 7.0):
        admission.served(delay, late=delay > 1)
    assert dict(zip([*DELAYS, math.inf], admission.delays, strict=True)) == {
        0.01: 2, 0.02: 1, 0.05: 0, 0.1: 0, 0.2: 0, 0.5: 1, 1.0: 0, 2.0: 0, 5.0: 0, math.inf: 1,
    }  # fmt: skip
    assert admission.delay == pytest.approx(7.322)
    assert (admission.chunks, admission.late) == (5, 1)
