"""What of a run goes into the package."""

import sys
from pathlib import Path

import pytest
import torch

from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.training.trainer import LAST
from recipes.tiny import export


def test_the_mean_of_a_run_and_the_model_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_checkpoint("tiny")
    learnt = {name: value.float() + 1 for name, value in before.weights.items()}
    torch.save({"average": {f"model.{name}": value for name, value in learnt.items()}, "step": 10}, tmp_path / LAST)
    (tmp_path / "tokenizer.model").write_bytes(before.tokenizer.to_sentencepiece())
    monkeypatch.setattr(
        sys, "argv",
        ["export", "--data", str(tmp_path), "--run", str(tmp_path), "--output", str(tmp_path / "model"), "--last",
         "--steps-before", "100", "--mean-with", "tiny", "--share", "0.25"],
    )  # fmt: skip
    export.main()
    made = load_checkpoint(str(tmp_path / "model"))
    assert made.about["steps"] == 110
    assert made.tokenizer.to_json() == before.tokenizer.to_json()
    assert {name: value.shape for name, value in made.weights.items()} == {n: v.shape for n, v in learnt.items()}
    for name, value in made.weights.items():
        torch.testing.assert_close(value.float(), before.weights[name].float() + 0.75, rtol=2e-3, atol=2e-3)
