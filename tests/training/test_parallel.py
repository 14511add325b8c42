"""Two processes, one model: started as users start them, by torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

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
report = f"{weight.grad.unique().tolist()} leads {replicas.leads} of {replicas.size}"
Path(__file__).with_name(f"rank-{replicas.rank}").write_text(report)
"""


def test_gradients_are_the_mean_of_all_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    reports = [(tmp_path / f"rank-{rank}").read_text() for rank in range(2)]
    assert reports == ["[1.5] leads True of 2", "[1.5] leads False of 2"]


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
