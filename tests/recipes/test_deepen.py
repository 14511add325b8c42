"""More blocks, the same frames."""

import pytest
import torch
from torch import Tensor

from nemotron_asr.config import ModelConfig
from nemotron_asr.model import Encoder
from recipes.tiny.deepen import LAST_OF_BRANCHES, block_prefix, deepened

CONFIG = ModelConfig(
    d_model=16, n_layers=2, n_heads=2, d_ff=32, conv_kernel=5, subsampling_channels=8, left_context=8, use_bias=False
)  # fmt: skip


def encoder(layers: int, weights: dict[str, Tensor] | None = None) -> Encoder:
    torch.manual_seed(1)
    config = ModelConfig(**{**vars(CONFIG), "n_layers": layers})
    made = Encoder(config).eval()
    for name, parameter in made.named_parameters():
        if ".norm_out." in name:  # norms that scale and shift
            torch.nn.init.normal_(parameter)
    if weights:
        made.load_state_dict({name.removeprefix("encoder."): weight for name, weight in weights.items()})
    return made


def named(of: Encoder) -> dict[str, Tensor]:
    return {f"encoder.{name}": weight for name, weight in of.state_dict().items()}


def frames(of: Encoder) -> Tensor:
    mel = torch.randn(1, 160, CONFIG.n_mels, generator=torch.Generator().manual_seed(2))
    return of(mel, torch.tensor([160]), of.initial_state(1), chunk=4)[0].detach()


@pytest.mark.parametrize("layers", [3, 4, 5])
def test_new_blocks_change_nothing(layers: int) -> None:
    shallow = encoder(2)
    deep = encoder(layers, deepened(named(shallow), layers))
    torch.testing.assert_close(frames(deep), frames(shallow), atol=1e-4, rtol=1e-4)


def test_new_blocks_learn() -> None:
    deep = encoder(4, deepened(named(encoder(2)), 4))
    mel = torch.randn(1, 160, CONFIG.n_mels)
    deep(mel, torch.tensor([160]), deep.initial_state(1), chunk=4)[0].square().sum().backward()
    slopes = [deep.get_parameter(f"blocks.{block}.{name}").grad for name in LAST_OF_BRANCHES for block in (1, 3)]
    assert all(slope is not None and slope.abs().max() > 0 for slope in slopes)


def test_as_many_blocks_are_the_same_weights() -> None:
    weights = named(encoder(2))
    same = deepened(weights, 2)
    assert same.keys() == weights.keys()
    assert all(torch.equal(same[name], weights[name]) for name in weights)
    assert block_prefix(1) + "norm_out.weight" in same
