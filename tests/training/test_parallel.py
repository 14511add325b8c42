"""Two processes, one model: started as users start them, by torchrun."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint
from nemotron_asr.config import ModelConfig
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batches, DataConfig, Source
from nemotron_asr.training.parallel import ALONE, Replicas

SCRIPT = """
from pathlib import Path

import torch
from nemotron_asr.training.parallel import Replicas

replicas = Replicas.join("cpu")
weight, frozen = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(1))
(weight.sum() * (replicas.rank + 1)).backward()
replicas.average_gradients([weight, frozen])
report = f"{weight.grad.unique().tolist()} leads {replicas.leads} of {replicas.gather(10 + replicas.rank)}"
Path(__file__).with_name(f"rank-{replicas.rank}").write_text(report)
"""

TRAIN = """
import json, os, signal, sys
from pathlib import Path

import torch
from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import DataConfig, Source
from nemotron_asr.training.trainer import Trainer, TrainingConfig

manifest, output, dies_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
folder = manifest.parent

class Mortal(Trainer):
    def train_step(self, *batches):
        if self.step == dies_at and not self.replicas.leads:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train_step(*batches)

data = DataConfig((Source(manifest),), folder / "cache", batch_seconds=8, bucket_seconds=(3.5, 5))
training = TrainingConfig(
    data, output, steps=12, warmup=5, save_every=5, validate_every=5, log_every=5, ctc_steps=3,
    validation=(manifest,), validation_lookahead=3,
)
torch.manual_seed(0)
model = NemotronASR(ModelConfig(**json.loads((folder / "model.json").read_text())))
trainer = Mortal(training, model, Tokenizer.from_json((folder / "tokenizer.json").read_bytes()))
began = trainer.step
trainer.run()
state = {"objective": trainer.objective.state_dict(), "average": trainer.average.values,
         "moments": trainer.optimizer.state_dict()["state"], "began": began, "ended": trainer.step}
torch.save(state, output / f"rank-{trainer.replicas.rank}.pt")
"""


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script, or `-m` and a module, in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_gradients_are_the_mean_of_all_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = torchrun(script)
    assert done.returncode == 0, done.stderr
    reports = [(tmp_path / f"rank-{rank}").read_text() for rank in range(2)]
    assert reports == ["[1.5] leads True of [10, 11]", "[1.5] leads False of [10, 11]"]


def test_replicas_share_shapes_and_not_rows(
    tmp_path: Path, manifest: Path, config: ModelConfig, tokenizer: Tokenizer
) -> None:
    data = DataConfig((Source(manifest),), tmp_path / "cache", batch_seconds=8, bucket_seconds=(3.5, 5))
    first = Batches(data, tokenizer, config, ALONE)
    second = Batches(data, tokenizer, config, Replicas(rank=1, size=2))
    for step in range(5):
        ours, theirs = first[step], second[step]
        assert ours.samples.shape == theirs.samples.shape
        assert ours.lookahead == theirs.lookahead
        assert not np.array_equal(ours.samples, theirs.samples)


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """A state as one row of values."""
    if not isinstance(tree, dict):
        return {name: tree}
    return {path: value for key, inner in tree.items() for path, value in flat(inner, f"{name}/{key}").items()}


def test_killed_and_resumed_replicas_are_bit_identical_to_those_never_stopped(
    tmp_path: Path, manifest: Path, config: ModelConfig, tokenizer: Tokenizer
) -> None:
    """One process of two is killed; the other ends, and both begin again where the last checkpoint was written."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    (tmp_path / "model.json").write_text(json.dumps(asdict(config)))
    straight, resumed, never = tmp_path / "straight", tmp_path / "resumed", -1
    done = torchrun(tmp_path / "train.py", manifest, straight, never)
    assert done.returncode == 0, done.stderr
    assert torchrun(tmp_path / "train.py", manifest, resumed, 8).returncode != 0
    assert not (resumed / "rank-0.pt").exists()
    done = torchrun(tmp_path / "train.py", manifest, resumed, never)
    assert done.returncode == 0, done.stderr
    states = [flat(torch.load(run / f"rank-{rank}.pt")) for run in (straight, resumed) for rank in range(2)]
    assert [state.pop("/began") for state in states] == [0, 0, 5, 5]
    assert [state.pop("/ended") for state in states] == [12] * 4
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert [name for name in state if not torch.equal(state[name], states[0][name])] == []


def test_two_processes_fine_tune_as_the_page_says(tmp_path: Path, manifest: Path, base: Checkpoint) -> None:
    run = tmp_path / "run"
    command = ["finetune", "--train", manifest, "--validation", manifest, "--output", run, "--device", "cpu"]
    command += ["--model", tmp_path / "base", "--steps", 2, "--batch-seconds", 5, "--warmup", 1, "--lr", 0.01]
    done = torchrun("-m", "nemotron_asr", *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("language right") == 1  # the leader alone reports
    assert json.loads((run / "options.json").read_text(encoding="utf-8"))["processes"] == 2
    assert load_checkpoint(run / "best").weights.keys() == base.weights.keys()
