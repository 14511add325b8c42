"""Weights come into use in the dtype that is asked for, without the file and the model in memory together."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, place_weights, save_checkpoint, skeleton
from tests.checkpoint.conftest import make_checkpoint


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("used", [torch.float32, torch.bfloat16, torch.float64])
def test_every_weight_is_converted(
    tmp_path: Path, checkpoint: Checkpoint, stored: torch.dtype, used: torch.dtype
) -> None:
    save_checkpoint(checkpoint, tmp_path, dtype=stored)
    weights = load_checkpoint(tmp_path).weights
    expected = {name: tensor.clone() for name, tensor in weights.items()}
    model = skeleton(checkpoint.config)
    place_weights(model, weights, torch.device("cpu"), used)
    for name, parameter in model.named_parameters():
        dtype = torch.float32 if name.startswith("prompt.") and used == torch.bfloat16 else used
        assert parameter.dtype == dtype
        assert torch.equal(parameter, expected[name].to(dtype))
        assert torch.equal(weights[name], expected[name])
        assert (parameter.data_ptr() == weights[name].data_ptr()) == (dtype == expected[name].dtype)


def test_the_weights_are_all_there(checkpoint: Checkpoint) -> None:
    weights = dict(checkpoint.weights)
    del weights["transducer.head.bias"]
    with pytest.raises(RuntimeError, match=r"transducer\.head\.bias"):
        place_weights(skeleton(checkpoint.config), weights, torch.device("cpu"), torch.float32)


PEAK = r"""
import re, sys
import nemotron_asr.recognizer
nemotron_asr.load("tiny", device="cpu", dtype=sys.argv[2])
def peak(): return int(re.search(r"VmHWM:\s*(\d+) kB", open("/proc/self/status").read())[1]) * 1024
before = peak()
nemotron_asr.load(sys.argv[1], device="cpu", dtype=sys.argv[2])
print(peak() - before)
"""


@pytest.fixture(scope="module")
def larger() -> Checkpoint:
    """80 MB in float32."""
    return make_checkpoint(d_model=512, d_ff=2048, n_layers=4, d_pred=128, d_joint=128)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the pages of a mapped file are not given back")
@pytest.mark.parametrize(("stored", "used"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_peak_memory_of_a_conversion(tmp_path: Path, larger: Checkpoint, stored: str, used: str) -> None:
    save_checkpoint(larger, tmp_path, dtype=getattr(torch, stored))
    size = sum(tensor.numel() for tensor in larger.weights.values()) * getattr(torch, used).itemsize
    command = [sys.executable, "-c", PEAK, str(tmp_path), used]
    needed = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.5 * size < needed < 1.05 * size
