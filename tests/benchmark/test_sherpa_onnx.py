"""The exported model says in sherpa-onnx what ours says."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.comparison import recording
from nemotron_asr.benchmark.contenders import Ours, Tokens
from nemotron_asr.benchmark.random_model import random_checkpoint
from nemotron_asr.checkpoint import save_checkpoint
from nemotron_asr.cli import commands
from nemotron_asr.cli.running import DONE, WRONG_USAGE, run
from nemotron_asr.config import LATENCIES, ModelConfig
from nemotron_asr.recognizer import load
from tests.benchmark.test_benchmark import SMALL

REASON = "sherpa-onnx and what exports to it are no part of the package"
pytest.importorskip("onnxruntime", reason=REASON)
sherpa_onnx = pytest.importorskip("nemotron_asr.benchmark.against_sherpa_onnx", reason=REASON, exc_type=ImportError)
exporting = pytest.importorskip("benchmarks.export_sherpa", reason=REASON, exc_type=ImportError)
TALKATIVE = replace(SMALL, max_symbols=exporting.MAX_SYMBOLS)


def noisy_speech() -> Samples:
    """So noisy that it does not matter how silence is floored."""
    speech = recording(4)
    return speech + np.random.default_rng(0).normal(0, 0.01, len(speech)).astype(np.float32)


def write(folder: Path, config: ModelConfig, *latencies: int, quantised: bool = True) -> Path:
    checkpoint = random_checkpoint(noisy_speech(), config)
    checkpoint.weights["transducer.head.bias"][-1] -= 0.2  # blank's was found by bisection: where decisions are closest
    save_checkpoint(checkpoint, folder / "model", "native")
    logging.disable(logging.WARNING)
    for latency in latencies:
        exporting.export(checkpoint, folder / str(latency), latency, quantised=quantised)
    logging.disable(logging.NOTSET)
    return folder


def said(folder: Path, latency: int) -> list[Tokens]:
    """What sherpa-onnx and ours say at once, and live."""
    theirs = sherpa_onnx.SherpaOnnx(folder / str(latency), "float32")
    both = theirs, Ours(load(str(folder / "model"), "cpu", "float32").runner)
    samples, lookahead = noisy_speech(), LATENCIES[latency]
    return [contender.run(task, samples, lookahead) for contender in both for task in ("file", "live")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sherpa"), TALKATIVE, 80, 1120)


@pytest.mark.parametrize("latency", [80, 1120])
def test_both_say_the_same(exported: Path, latency: int) -> None:
    tokens = said(exported, latency)
    assert len(tokens[0]) > 10
    assert tokens == tokens[:1] * 4


def test_the_same_without_a_prompt(tmp_path: Path) -> None:
    write(tmp_path, replace(TALKATIVE, n_prompts=0), 560, quantised=False)
    tokens = said(tmp_path, 560)
    assert len(tokens[0]) > 10
    assert tokens == tokens[:1] * 4


@pytest.mark.parametrize("latency", [80, 1120])
def test_files_say_their_latency(exported: Path, latency: int) -> None:
    for kind in sherpa_onnx.KINDS:
        assert sherpa_onnx.SherpaOnnx(exported / str(latency), kind).latency() == latency


def test_the_command_prints_a_row_for_every_kind_of_file(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--against", "sherpa-onnx", "--files", str(exported / "1120"), "--model", str(exported / "model")]
    assert run(commands, ["bench", *options]) == DONE
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if " 1120 ms |" in line]
    assert [row[:2] for row in rows] == [
        [f"{task}, 1120 ms", dtype] for dtype in ("float32", "int8") for task in ("file", "live")
    ]
    assert all(float(row[i]) > 0 for row in rows for i in (2, 3, 5, 6, 8, 9))


@pytest.mark.parametrize("options", [[], ["--files", "."], ["--files", ".", "--model", "tiny"]])
def test_without_files_and_their_model_nothing_runs(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(commands, ["bench", "--against", "sherpa-onnx", *options]) == WRONG_USAGE
    assert ("encoder.onnx" if len(options) == 4 else "--files") in capsys.readouterr().err
