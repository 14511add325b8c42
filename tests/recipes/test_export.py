"""What of a run goes into the package."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nemotron_asr.checkpoint import load_checkpoint, save_checkpoint, to_float
from nemotron_asr.training.trainer import LAST
from recipes.tiny import export
from recipes.tiny.deepen import deepened
from recipes.tiny.train import CONFIG


def test_the_mean_of_a_run_and_the_model_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = load_checkpoint("tiny")
    weights = deepened(to_float(tiny.weights), CONFIG.n_layers)
    before = replace(tiny, config=replace(tiny.config, n_layers=CONFIG.n_layers), weights=weights)
    save_checkpoint(before, tmp_path / "before")
    learnt = {name: value.float() + 1 for name, value in weights.items()}
    torch.save({"average": {f"model.{name}": value for name, value in learnt.items()}, "step": 10}, tmp_path / LAST)
    (tmp_path / "tokenizer.model").write_bytes(before.tokenizer.to_sentencepiece())
    monkeypatch.setattr(
        sys, "argv",
        ["export", "--data", str(tmp_path), "--run", str(tmp_path), "--output", str(tmp_path / "model"), "--last",
         "--steps-before", "100", "--mean-with", str(tmp_path / "before"), "--share", "0.25"],
    )  # fmt: skip
    export.main()
    made = load_checkpoint(str(tmp_path / "model"))
    assert made.about["steps"] == 110
    assert made.tokenizer.to_json() == before.tokenizer.to_json()
    stored = to_float(made.weights)
    assert {name: value.shape for name, value in stored.items()} == {
        name: value.shape for name, value in learnt.items()
    }
    for name, value in stored.items():
        expected = weights[name].float() + 0.75
        half_a_step = expected.abs().max().item() / 127 / 2  # of what is stored in int8
        torch.testing.assert_close(value.float(), expected, rtol=2e-3, atol=1e-3 + half_a_step)
