"""The compiled greedy search against the eager one on the same quantised transducer."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from nemotron_asr.config import ModelConfig
from nemotron_asr.decoding.bias import Bias, BoostTables
from nemotron_asr.decoding.boosting import BoostTree
from nemotron_asr.decoding.greedy import WINDOW, DecoderState, Emission, greedy, initial_state
from nemotron_asr.engine import packed
from nemotron_asr.engine.quantize import quantize
from nemotron_asr.model import Transducer
from tests.conftest import random_model, tiny_config

SIZES = {"d_model": 256, "n_heads": 2, "d_ff": 512, "n_layers": 1, "d_pred": 32, "d_joint": 48}

pytestmark = pytest.mark.skipif(not packed.supported(tiny_config(**SIZES)), reason="needs AVX-512 VNNI and numba")


def talkative(config: ModelConfig) -> Transducer:
    """A quantised transducer that says a token in about every second frame."""
    model = random_model(config)
    with torch.no_grad():
        model.transducer.head.weight *= 4
        model.transducer.head.bias[config.blank] += 3
    quantize(model)
    return model.transducer


def config_of(*, layers: int, vocab: int, final: tuple[int, ...] = ()) -> ModelConfig:
    return replace(tiny_config(**SIZES), pred_layers=layers, vocab_size=vocab, final_tokens=final)


def compiled(transducer: Transducer) -> "packed.transducer.PackedTransducer":
    from nemotron_asr.engine.packed.transducer import PackedTransducer

    assert PackedTransducer.takes(transducer)
    return PackedTransducer(transducer)


def same(said: list[list[Emission]], expected: list[list[Emission]]) -> None:
    assert [[(x.token, x.frame) for x in row] for row in said] == [
        [(x.token, x.frame) for x in row] for row in expected
    ]
    numbers = [[(x.logprob, x.confidence) for row in rows for x in row] for rows in (said, expected)]
    ours, theirs = (np.array(each).reshape(-1, 2) for each in numbers)
    error = np.abs(ours - theirs)
    if len(error):  # now and then a sum that is rounded otherwise changes a quantised byte
        assert np.median(error) < 1e-4
        assert error.max() < 0.1


@torch.inference_mode()
@pytest.mark.parametrize(("layers", "vocab"), [(1, 40), (2, 95), (1, 300)])
@pytest.mark.parametrize("seed", range(6))
def test_the_tokens_are_those_of_the_eager_search(seed: int, layers: int, vocab: int) -> None:
    """Streams of different lengths, which begin anywhere, in several steps; more cells than a block takes; teams."""
    from nemotron_asr.engine.packed.team import Team

    torch.manual_seed(seed)
    team = Team(1 + seed % 3)
    eager = talkative(config_of(layers=layers, vocab=vocab, final=(3, 5, 8)))
    fast_transducer = deepcopy(eager)
    fast = compiled(fast_transducer)
    batch, steps = int(torch.randint(1, 25, ())), 3
    state = own = initial_state(eager, batch)
    total = 0
    for _ in range(steps):
        frames = torch.randn(batch, int(torch.randint(1, 9, ())), 256)
        valid = torch.randint(0, frames.shape[1] + 1, (batch,))
        first = torch.randint(0, 3, (batch,)).minimum(valid)
        expected, state = greedy(eager, frames, valid, state, first)
        said, own = fast.search(fast_transducer.project(frames), first, valid, own, team=team)
        same(said, expected)
        total += sum(map(len, said))
        for ours, theirs in zip(own.tensors(), state.tensors(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=0)
    assert total or batch * steps < 20


def random_tree(draw: np.random.Generator, vocab: int) -> BoostTree:
    """Nodes with a few arcs to anywhere; some streams have no phrases."""
    counts = draw.integers(0, 6, draw.integers(1, 8)) if draw.random() < 0.8 else np.zeros(1, int)
    arcs, nodes = int(counts.sum()), len(counts)
    return BoostTree(
        np.cumsum([0, *counts]), draw.integers(0, vocab, arcs), draw.integers(0, nodes, arcs),
        draw.uniform(0, 12, arcs).astype(np.float32),
    )  # fmt: skip


@torch.inference_mode()
@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 6, 7, 8, 9, 10])  # of 3, two tokens are as likely as each other
def test_what_streams_prefer_and_rule_out_is_heeded(seed: int) -> None:
    draw, vocab, batch = np.random.default_rng(seed), 40, 9
    torch.manual_seed(seed)
    eager = talkative(config_of(layers=1, vocab=vocab))
    fast_transducer = deepcopy(eager)
    fast, tables = compiled(fast_transducer), BoostTables(torch.device("cpu"))
    trees = [random_tree(draw, vocab) for _ in range(batch)]
    banned = [draw.choice(vocab, draw.integers(0, 4), replace=False).tolist() for _ in range(batch)]
    place = own_place = torch.zeros(batch, 2, dtype=torch.long)
    state = own = initial_state(eager, batch)
    plain: list[list[Emission]] = []
    for _ in range(3):
        frames, none = torch.randn(batch, 6, 256), torch.zeros(batch, dtype=torch.long)
        valid = torch.full((batch,), 6)
        plain = greedy(eager, frames, valid, state)[0]
        theirs, ours = (Bias.of(trees, banned, x, tables, eager.config.blank) for x in (place, own_place))
        expected, state = greedy(eager, frames, valid, state, none, theirs)
        said, own = fast.search(fast_transducer.project(frames), none, valid, own, ours)
        same(said, expected)
        place, own_place = theirs.place, ours.place
        assert torch.equal(place, own_place)
        assert not any(x.token in out for row, out in zip(said, banned, strict=True) for x in row)
    assert [[x.token for x in row] for row in plain] != [[x.token for x in row] for row in said]


@torch.inference_mode()
def test_a_frame_has_no_more_tokens_than_the_limit() -> None:
    config = replace(config_of(layers=1, vocab=40), max_symbols=3)
    transducer = talkative(config)
    transducer.head.bias[config.blank] = -1e4
    fast = compiled(transducer)
    enc = transducer.project(torch.randn(2, 5, 256))
    said, _ = fast.search(enc, torch.tensor([0, 2]), torch.tensor([5, 4]), initial_state(transducer, 2))
    assert [[x.frame for x in row] for row in said] == [[f for f in range(5) for _ in range(3)], [2, 2, 2, 3, 3, 3]]


@torch.inference_mode()
def test_a_stream_hears_the_same_alone() -> None:
    transducer = talkative(config_of(layers=2, vocab=300))
    fast = compiled(transducer)
    enc, start = transducer.project(torch.randn(20, 12, 256)), initial_state(transducer, 20)
    first, valid = torch.zeros(20, dtype=torch.long), torch.full((20,), 12)
    together, after = fast.search(enc, first, valid, start)
    for row in range(20):
        one = slice(row, row + 1)
        alone = DecoderState(*(part[one] for part in start.tensors()))
        said, state = fast.search(enc[one], first[one], valid[one], alone)
        assert said[0] == together[row]
        assert all(torch.equal(a[0], b[row]) for a, b in zip(state.tensors(), after.tensors(), strict=True))


@torch.inference_mode()
def test_packed_linears_compute_what_they_replace() -> None:
    eager = talkative(config_of(layers=1, vocab=300))
    fast = deepcopy(eager)
    owner = compiled(fast)
    x = torch.randn(3, 40, eager.config.d_joint)
    assert owner is not None
    torch.testing.assert_close(fast.head(x), eager.head(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        fast.pred(x[..., : eager.config.d_pred]), eager.pred(x[..., : eager.config.d_pred]), atol=1e-4, rtol=1e-4
    )


def test_both_searches_look_as_far_ahead() -> None:
    from nemotron_asr.engine.packed import search

    assert search.WINDOW == WINDOW
