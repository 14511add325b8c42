"""The benchmark for GPUs runs from end to end, so that no day with a GPU is lost to it."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import Plan, Trial, main, sizes_of
from nemotron_asr.benchmark.fleet import FleetService


def test_the_whole_course_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    main(Plan(True, [320], 1.5, 1.0, 2, fp8=False, stock=False, out=str(out)))
    found = json.loads(out.read_text())
    (latency,) = found["latencies"]
    assert latency["latency"] == 320
    assert latency["strict"]["streams"] >= 1
    assert latency["strict"]["watts"] == "not measured"
    assert found["agreement"] == {"80": 1.0, "1120": 1.0}
    assert found["offline"].keys() == {"1", "2"}
    assert "| 320 ms |" in capsys.readouterr().out


def test_energy_is_told_where_it_was_measured() -> None:
    service = FleetService(100, 80, chunks=1000, steps=10, served=1000)
    figures = Trial(service, good=True, watts=500.0, utilisation="90 %").figures()
    assert figures["joules per hour"] == 18000
    assert figures["streams a step"] == 100


def test_steps_are_no_larger_than_pays() -> None:
    assert sizes_of(1, 4000)[-1] == 4000
    assert sizes_of(14, 20_000)[-1] == 8192 // 14
    assert sizes_of(14, 1) == [1]
