"""The loop of fixed turns against `decoding.greedy`."""

import pytest
import torch
from torch import Tensor

from nemotron_asr.decoding.greedy import DecoderState, Emission, greedy, initial_state
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.search import GreedySearch, Search, rooms
from nemotron_asr.model import Transducer
from tests.conftest import random_model, tiny_config

pytestmark = pytest.mark.usefixtures("no_grad")


def emissions(search: Search) -> list[list[Emission]]:
    return [
        [Emission(int(token), int(frame), logprob, sure) for token, frame, logprob, sure in row[:count].tolist()]
        for row, count in zip(search.said[:-1], search.count[:-1].tolist(), strict=True)
    ]


def run(
    transducer: Transducer, frames: Tensor, first: Tensor, valid: Tensor, state: DecoderState, capacities: list[int]
) -> tuple[list[list[Emission]], DecoderState]:
    loop, search = GreedySearch(transducer, plain), Search.new(transducer, len(frames), frames.shape[1])
    loop.begin(search, frames, first, valid, state)
    loop.turns(search, capacities)
    while search.active:
        loop.turns(search, [2] * 4)
    return emissions(search), loop.memory(search)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("changes", [{}, {"max_symbols": 1, "final_tokens": (0, 3, 7, 11)}], ids=str)
def test_tokens_do_not_depend_on_room_or_turns(seed: int, changes: dict[str, int]) -> None:
    torch.manual_seed(seed)
    transducer = random_model(tiny_config(**changes), seed).transducer
    streams, length = 1 + seed, [1, 2, 14, 20][seed]
    state, said = initial_state(transducer, streams), 0
    for _ in range(2):
        frames = torch.randn(streams, length, transducer.config.d_model)
        valid = torch.randint(0, length + 1, (streams,))
        first = torch.randint(0, 2, (streams,))
        expected, after = greedy(transducer, frames, valid, state, first)
        for capacities in (rooms(streams, length), [1]):
            found, memory = run(transducer, frames, first, valid, state, capacities)
            for ours, theirs in zip(found, expected, strict=True):
                assert [(e.token, e.frame) for e in ours] == [(e.token, e.frame) for e in theirs]
                for a, b in zip(ours, theirs, strict=True):
                    assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
                    assert a.confidence == pytest.approx(b.confidence, abs=1e-4)
            for mine, their in zip(memory.tensors(), after.tensors(), strict=True):
                torch.testing.assert_close(mine, their, atol=1e-5, rtol=1e-5)
        state, said = after, said + sum(map(len, expected))
    assert said > 0
