from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nemotron_asr.engine import Engine, calibration
from nemotron_asr.engine.calibration import calibrate
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.pool import Pool
from nemotron_asr.errors import AtCapacity
from nemotron_asr.recognizer import Recognizer


@pytest.mark.parametrize("before", [1, 4])  # what an engine took that started before, when the machine was busy or not
@pytest.mark.parametrize(("slowness", "chosen"), [({1: 0.002, 4: 0.040}, 1), ({1: 0.040, 4: 0.002}, 4)])
def test_the_faster_number_of_threads_is_taken(
    recognizer: Recognizer, slowness: dict[int, float], chosen: int, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, cost, now = recognizer.runner, StepCost(), [0.0]

    def step(_: Any, parts: list[Any], frames: int, __: int) -> list[list[Any]]:
        now[0] += slowness[runner.threads] + 0.0001 * len(parts) * frames
        return [[] for _ in parts]

    monkeypatch.setattr(calibration, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(runner, "step", step)
    monkeypatch.setattr(runner, "most_threads", 4)
    monkeypatch.setattr(runner, "threads", before)
    monkeypatch.setattr(runner, "use_threads", lambda threads: setattr(runner, "threads", threads))
    calibrate(runner, cost)
    assert runner.threads == chosen
    assert [cost.seconds(frames) for frames in (1, 14, 112)] == pytest.approx([0.0021, 0.0034, 0.0132], rel=0.01)


@pytest.mark.parametrize(("most", "reserved"), [(2, 2), (128, 3)])
def test_memory_is_reserved_for_as_many_streams_as_may_come(
    recognizer: Recognizer, most: int, reserved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()
    reserve = Pool.reserve

    def observed(pool: Pool, rows: int) -> None:
        asked.append(rows)
        reserve(pool, rows)

    monkeypatch.setattr(Pool, "reserve", observed)
    with Engine(recognizer, max_streams=3) as engine:
        engine.reserve(most)
        assert asked == [reserved]
        with engine.open(latency_ms=80) as session:
            session.feed(np.zeros(8000, np.float32))


def test_the_rows_that_it_tried_are_free_again(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = recognizer.runner
    pool = runner.pool(8)
    free = [pool.acquire() for _ in range(8)]
    for row in free:
        pool.release(row)
    monkeypatch.setattr(runner, "pool", lambda _: pool)  # one for all, as on a GPU
    calibrate(runner, StepCost())
    assert sorted(pool.acquire() for _ in range(8)) == sorted(free)


def test_a_machine_that_was_too_busy_for_anybody_is_measured_again(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognizer.runner, "step", lambda _, parts, *__: [[] for _ in parts])
    with Engine(recognizer) as engine:
        for _ in range(500):
            engine._cost.add(1, 10.0)
        with pytest.raises(AtCapacity, match="sustains no stream at 80 ms, or is busy"):
            engine.open(latency_ms=80)
        with engine._measuring:  # it has ended
            assert engine.statistics.capacity[80] > 0
        engine.open(latency_ms=80).close()
