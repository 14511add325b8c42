"""The average of the weights, by its definition."""

import torch
from torch import nn

from nemotron_asr.training.state import Average


def test_the_average_forgets_the_first_weights_quickly_and_later_ones_by_its_decay() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 8.0)
    average, expected = Average(module, decay=0.5), 8.0
    for step, decay in ((1, 2 / 11), (2, 3 / 12), (7, 8 / 17), (8, 0.5), (1000, 0.5)):
        nn.init.constant_(module.weight, float(step))
        average.update(step)
        expected = decay * expected + (1 - decay) * step
        torch.testing.assert_close(average.values["weight"].item(), expected)


def test_without_decay_it_is_the_weights() -> None:
    module = nn.Linear(2, 2)
    average = Average(module, decay=0.0)
    nn.init.normal_(module.weight)
    average.update(1)
    assert torch.equal(average.values["weight"], module.weight)


def test_it_computes_in_place_of_the_weights_for_a_while() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    average = Average(module, decay=0.999)
    nn.init.constant_(module.weight, 3.0)
    with average.in_use():
        assert module.weight.item() == 1.0
    assert module.weight.item() == 3.0
