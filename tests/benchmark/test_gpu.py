"""The benchmark for GPUs runs from end to end, so that no day with a GPU is lost to it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu import Contest, Plan, Trial, listen, main, report
from benchmarks.gpu_meter import Meter
from benchmarks.gpu_record import Record
from benchmarks.gpu_steps import sizes_of
from nemotron_asr.benchmark.fleet import FleetService


def test_the_whole_course_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, table = tmp_path / "figures.json", tmp_path / "profile.txt"
    main(Plan(True, [320], 1.5, 1.0, 2, 600, stock=False, out=str(out), profile=str(table)))
    found = json.loads(out.read_text())
    (latency,) = found["latencies"]
    assert latency["latency"] == 320
    assert latency["strict"]["tokens a frame"] > 0
    assert latency["loose"]["tokens a frame"] > 0
    assert latency["strict"]["watts"] == "not measured"
    assert latency["strict trials"][-1]["seconds"] == 1.5
    assert found["agreement"] == {"80": 1.0, "1120": 1.0}
    assert found["offline"].keys() == {"1", "2"}
    assert found["stock"] == "not measured"
    assert "| 320 ms |" in capsys.readouterr().out
    assert "2 streams, chunks of 14" in table.read_text()
    assert "aten::addmm" in table.read_text()


def test_nothing_begins_after_the_deadline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, said = tmp_path / "figures.json", tmp_path / "speech.npy"
    main(Plan(True, [80, 1120], 1.5, 1.0, 2, 0, out=str(out), speech=str(said)))
    found = json.loads(out.read_text())
    assert [latency["strict"] for latency in found["latencies"]] == ["not measured", "not measured"]
    assert found["agreement"] == found["stock"] == "not measured"
    assert set(found["offline"].values()) == {"not measured"}
    assert "| 1120 ms | not measured |" in capsys.readouterr().out
    assert said.exists()


def test_a_part_that_fails_is_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    record = Record(str(out), 600)
    record.measure(record.found, "one", lambda: 1 / 0)
    record.measure(record.found, "two", lambda: 2)
    record.measure(record.found, "three", lambda: 3, seconds=1000)
    found = json.loads(out.read_text())
    assert "ZeroDivisionError" in found["one"]["failed"]
    assert found["two"] == 2
    assert "three" not in found
    assert "one failed: ZeroDivisionError: division by zero" in capsys.readouterr().out


def contest(monkeypatch: pytest.MonkeyPatch, capacity: Callable[[float], int]) -> Contest:
    """Of a fleet that sustains so many streams for so many seconds."""

    def trial(self: Contest, streams: int, seconds: float) -> Trial:
        self.trials.append({"streams": streams, "seconds": seconds})
        return Trial(FleetService(streams, 80), streams <= capacity(seconds), 0.0, "")

    monkeypatch.setattr(Contest, "trial", trial)
    fleet: Any = SimpleNamespace(streams=10_000)
    plan = Plan(True, [80], 120, 10, 2, 600)
    return Contest(fleet, np.zeros(1, np.float32), 80, plan, Record("", 600), [], loose=False)


def test_the_last_trial_begins_below_the_best_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    many = contest(monkeypatch, lambda _: 1100)
    figures = many.figures(1000)
    assert [trial["streams"] for trial in many.trials] == [1000, 1251, 1125, 1062, 1008]
    assert isinstance(figures, dict)
    assert (figures["streams"], figures["sustained"]) == (1008, True)


def test_a_trial_that_fails_is_repeated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lasts two minutes."""
    fewer = contest(monkeypatch, lambda seconds: 1000 if seconds < 100 else 1)
    figures = fewer.figures(1000)
    assert [trial["seconds"] for trial in fewer.trials].count(120) == 3
    assert isinstance(figures, dict)
    assert not figures["sustained"]
    row = list(report([{"latency": 80, "strict": figures, "loose": {"failed": "a traceback"}}]))[-1]
    assert row.startswith(f"| 80 ms | fewer than {figures['streams']} | not measured | not measured | not measured |")


def test_where_there_is_no_more_room_nothing_is_known_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    many = contest(monkeypatch, lambda _: 100_000)
    figures = many.figures(9000)
    assert [trial["streams"] for trial in many.trials] == [9000, 10_000, 10_000]
    assert isinstance(figures, dict)
    row = list(report([{"latency": 80, "strict": figures, "loose": figures}]))[-1]
    assert row.startswith("| 80 ms | at least 10000 | ")


def test_what_is_said_can_be_decoded_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "speech.npy"
    said = listen(str(file))
    monkeypatch.setitem(sys.modules, "nemotron_asr.benchmark.speech", None)  # cannot be imported
    assert np.array_equal(listen(str(file)), said)


class BrokenCounters:
    """A library of NVIDIA's all of whose functions fail but those named."""

    class NVMLError(Exception):
        pass

    def __init__(self, *working: str) -> None:
        self.working = working

    def __getattr__(self, name: str) -> Callable[..., object]:
        def function(*_: object) -> object:
            if name not in self.working:
                raise self.NVMLError(name)
            return 0

        return function


@pytest.mark.parametrize("working", [(), ("nvmlInit",), ("nvmlInit", "nvmlDeviceGetHandleByUUID")], ids=str)
def test_counters_that_cannot_be_read_end_nothing(working: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr("importlib.import_module", lambda _: BrokenCounters(*working))
    with Meter(torch.device("cuda")) as meter:
        pass
    assert meter.watts == 0
    assert meter.utilisation == "not measured"


def test_energy_is_told_where_it_was_measured() -> None:
    service = FleetService(100, 80, chunks=1000, steps=10, served=1000)
    figures = Trial(service, good=True, watts=500.0, utilisation="90 %").figures()
    assert figures["joules per hour"] == 18000
    assert figures["streams a step"] == 100


def test_steps_are_no_larger_than_pays() -> None:
    assert sizes_of(1, 4000)[-1] == 4000
    assert sizes_of(14, 20_000)[-1] == 8192 // 14
    assert sizes_of(14, 1) == [1]
