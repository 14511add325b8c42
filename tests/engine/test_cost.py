import random

import pytest

from nemotron_asr.engine.cost import Capacity, StepCost


def test_a_line_is_found_in_noise() -> None:
    draw, cost = random.Random(0), StepCost()
    for _ in range(300):
        frames = draw.choice([1, 5, 14, 56, 112])
        cost.add(frames, (0.02 + 0.001 * frames) * draw.uniform(0.9, 1.1))
    assert cost.fixed == pytest.approx(0.02, rel=0.2)
    assert cost.per_frame == pytest.approx(0.001, rel=0.1)
    assert cost.seconds(50) == pytest.approx(0.07, rel=0.1)


def test_it_follows_a_machine_that_slows_down() -> None:
    cost = StepCost()
    for slowness in (1, 3):
        for i in range(300):
            frames = (1, 14, 112)[i % 3]
            cost.add(frames, slowness * (0.02 + 0.001 * frames))
    assert cost.seconds(14) == pytest.approx(3 * 0.034, rel=0.05)


@pytest.mark.parametrize("slowness", [1, 2])
def test_hours_of_equal_steps_do_not_make_it_forget_what_others_cost(slowness: int) -> None:
    draw, calibrated, cost = random.Random(0), StepCost(), StepCost()
    for frames in (1, 14, 112):
        calibrated.add(frames, 0.02 + 0.001 * frames)
    cost.become(calibrated)
    for _ in range(5000):
        cost.add(draw.choice([30, 31, 32]), slowness * (0.02 + 0.001 * 31) * draw.uniform(0.8, 1.2))
    assert cost.per_frame == pytest.approx(slowness * 0.001, rel=0.1)
    assert cost.fixed == pytest.approx(slowness * 0.02, rel=0.1)


def test_noisy_recordings_do_not_close_a_machine_to_live_streams() -> None:
    """Their steps are long, and say little about the cost before the first frame."""
    draw, calibrated, capacity = random.Random(1), StepCost(), Capacity()
    for frames in (1, 14, 112):
        calibrated.add(frames, 0.012 + 0.001 * frames)
    capacity.cost.become(calibrated)
    before = capacity.limit(1)
    for _ in range(300):
        frames = 14 * draw.randint(2, 8)
        capacity.cost.add(frames, (0.012 + 0.001 * frames) * draw.uniform(0.6, 1.4))
        assert before / 2 < capacity.limit(1) < 2 * before


def test_little_knowledge_is_used_with_care() -> None:
    cost = StepCost()
    assert cost.seconds(1000) == 0
    assert cost.rows_within(0.1, 14) > 1000
    cost.add(10, 0.5)
    assert cost.seconds(10) == pytest.approx(0.5)
    assert cost.rows_within(0.2, 14) == 0
    cost.add(20, 0.1)  # faster with more frames: noise
    assert cost.per_frame >= 0
    assert cost.fixed >= 0


def test_rows_that_fit() -> None:
    cost = StepCost()
    for frames in (1, 10, 100):
        cost.add(frames, 0.02 + 0.001 * frames)
    assert cost.rows_within(0.0501, 10) == 3
    assert cost.rows_within(0.01, 10) == 0


def machine(fixed: float, per_frame: float) -> Capacity:
    cost = StepCost()
    for frames in (1, 8, 14, 112):
        cost.add(frames, fixed + per_frame * frames)
    return Capacity(cost)


def test_capacity_is_the_last_number_that_is_sustained() -> None:
    capacity = machine(0.012, 0.001)
    for chunk in (1, 4, 14):
        limit = capacity.limit(chunk)
        assert capacity.sustains({chunk: limit})
        assert not capacity.sustains({chunk: limit + 1})
    assert capacity.limit(1) < capacity.limit(14) <= 72


def test_others_take_their_share() -> None:
    capacity = machine(0.012, 0.001)
    assert capacity.limit(14, {1: 20}) < capacity.limit(14) - 15


def test_a_machine_that_is_too_slow_sustains_nobody() -> None:
    assert machine(0.2, 0.1).limit(1) == 0
    assert not machine(0.2, 0.1).sustains({1: 1})
