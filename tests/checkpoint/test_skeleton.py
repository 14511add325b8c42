"""A model without memory, made in no time."""

import subprocess
import sys

import torch

from nemotron_asr.checkpoint import Checkpoint, skeleton
from nemotron_asr.config import ModelConfig


def test_it_takes_weights_as_they_are(checkpoint: Checkpoint) -> None:
    model = skeleton(checkpoint.config)
    assert all(parameter.is_meta for parameter in model.parameters())
    model.load_state_dict(checkpoint.weights, assign=True)
    weight = model.transducer.head.weight
    assert weight.data_ptr() == checkpoint.weights["transducer.head.weight"].data_ptr()


def test_initialisation_works_elsewhere() -> None:
    skeleton(ModelConfig(n_layers=1))
    assert torch.nn.Embedding(10, 10).weight.std() > 0.5


def test_torchs_compiler_is_not_imported() -> None:
    """It takes two seconds, and would be needed for nothing but filling tensors that have no memory."""
    code = (
        "import sys; from nemotron_asr.checkpoint import skeleton; from nemotron_asr.config import ModelConfig;"
        "skeleton(ModelConfig()); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
