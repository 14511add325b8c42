"""What training shows the predictor of a text is what decoding shows it, token by token."""

import pytest
import torch
from torch.testing import assert_close

from nemotron_asr.training.replay import replay
from tests.conftest import random_model, tiny_config

TEXTS = [[3, 5, 4, 1, 6, 2], [5, 5, 4, 6, 1, 6], [1, 2, 3, 4, 1, 2], [1, 2, 3, 5, 0, 0]]


@pytest.mark.parametrize("final", [(), (5,), (5, 6)], ids=str)
def test_every_utterance_begins_anew(final: tuple[int, ...]) -> None:
    config = tiny_config(final_tokens=final)
    transducer = random_model(config).transducer.double()
    tokens = torch.tensor([[config.blank, *text] for text in TEXTS])
    memory, steps = transducer.initial_state(len(TEXTS)), []
    for column in tokens.split(1, dim=1):
        out, memory = transducer.predict(column, memory)
        steps.append(out)
    assert_close(replay(transducer, tokens), torch.cat(steps, 1))


def test_what_follows_a_tag_teaches_the_start() -> None:
    """Gradients flow back to where the utterance began, and no further."""
    transducer = random_model(tiny_config(final_tokens=(5,))).requires_grad_().transducer
    tokens = torch.tensor([[transducer.config.blank, 1, 2, 5, 3]])
    replay(transducer, tokens)[:, 4].sum().backward()
    assert transducer.embed.weight.grad is not None
    assert transducer.embed.weight.grad.abs().sum(1).nonzero().flatten().tolist() == [3]
