"""What streams prefer and rule out, in one batch."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.decoding.bias import Bias, BoostTables
from nemotron_asr.decoding.boosting import NO_BOOST, ROOT, BoostTree, boost_tree
from nemotron_asr.decoding.greedy import certainty, greedy, initial_state
from nemotron_asr.tokenizer import Tokenizer
from tests.conftest import random_model, tiny_config
from tests.decoding.test_boosting import arcs, tokenizer

__all__ = ["tokenizer"]  # a fixture
CPU = torch.device("cpu")
BLANK = 1024


def bias_of(trees: list[BoostTree], tables: BoostTables, banned: list[tuple[int, ...]] | None = None) -> Bias:
    place = torch.zeros(len(trees), 2, dtype=torch.long)
    return Bias.of(trees, banned or [()] * len(trees), place, tables, BLANK)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.sampled_from(["", "new york", "york", "nemo", "ne ne"]), max_size=5))
def test_a_batch_is_its_streams_one_by_one(tokenizer: Tokenizer, seed: int, lists: list[str]) -> None:
    """The choice, and the place moved to, are those of the tree's arcs, whoever else is in the batch."""
    trees = [boost_tree(text.split(), tokenizer) for text in ["new york", *lists]]
    bias, draw = bias_of(trees, BoostTables(CPU)), torch.Generator().manual_seed(seed)
    rows, nodes = torch.arange(len(trees)), [ROOT] * len(trees)
    for _ in range(6):
        logits = torch.randn(len(trees), BLANK + 1, generator=draw)
        before = bias.place.clone()
        chosen = bias.choose(logits, logits.argmax(-1), rows)
        after, bias.place = bias.place, before
        for row, tree in enumerate(trees):
            gained = logits[row].clone()
            for token, (_, gain) in arcs(tree, nodes[row]).items():
                gained[token] = gained[token] + gain
            assert int(chosen[row]) == int(gained.argmax())
            assert int(after[row, 1]) == arcs(tree, nodes[row]).get(int(chosen[row]), (ROOT, 0.0))[0]
        steps = torch.tensor([next(iter(arcs(tree, node)), 7) for tree, node in zip(trees, nodes, strict=True)])
        bias.said(rows, steps)
        for row, tree in enumerate(trees):
            nodes[row] = arcs(tree, nodes[row]).get(int(steps[row]), (ROOT, 0.0))[0]
        assert bias.place[:, 1].tolist() == nodes


def test_a_place_belongs_to_its_tree(tokenizer: Tokenizer) -> None:
    first, second = boost_tree(["nemotron"], tokenizer), boost_tree(["parakeet"], tokenizer)
    tables = BoostTables(CPU)
    bias = bias_of([first], tables)
    bias.said(torch.tensor([0]), torch.tensor([tokenizer.encode("nemotron")[0]]))
    assert bias.place[0, 1] != ROOT
    again = Bias.of([first], [()], bias.place, tables, BLANK)
    other = Bias.of([second], [()], bias.place, tables, BLANK)
    assert torch.equal(again.place, bias.place)
    assert other.place[0, 1] == ROOT


def test_trees_that_nobody_uses_are_swept_out(tokenizer: Tokenizer) -> None:
    tables, kept = BoostTables(CPU), boost_tree(["keep me"], tokenizer)
    _, number, _ = tables.place([kept])
    empty = BoostTree(kept.first, kept.token, kept.target, kept.gain)
    for _ in range(50):
        tree = BoostTree(empty.first, empty.token, empty.target, empty.gain)
        arcs_now, _, _ = tables.place([tree])
        del tree
    assert len(arcs_now.token) <= 4 * len(kept.token)
    assert torch.equal(tables.place([kept])[1], number)


def test_without_preferences_the_choice_is_the_models() -> None:
    logits, rows = torch.randn(2, BLANK + 1), torch.arange(2)
    bias = bias_of([NO_BOOST, NO_BOOST], BoostTables(CPU))
    assert torch.equal(bias.allowed(logits[:, None], rows), logits[:, None])
    assert torch.equal(bias.choose(logits, logits.argmax(-1), rows), logits.argmax(-1))


def test_what_is_ruled_out_is_not_said() -> None:
    config = tiny_config(max_symbols=3)
    transducer = random_model(config).transducer
    frames = torch.randn(2, 40, config.d_model, generator=torch.Generator().manual_seed(1))
    valid, start = torch.tensor([40, 40]), initial_state(transducer, 2)
    (free, _), _ = greedy(transducer, frames, valid, start)
    banned = tuple({emission.token for emission in free[:3]})
    place = torch.zeros(2, 2, dtype=torch.long)
    bias = Bias.of([NO_BOOST, NO_BOOST], [banned, ()], place, BoostTables(CPU), config.blank)
    said, _ = greedy(transducer, frames, valid, start, bias=bias)
    plain, _ = greedy(transducer, frames, valid, start)
    assert said[0]
    assert not {emission.token for emission in said[0]} & set(banned)
    assert [(e.token, e.frame) for e in said[1]] == [(e.token, e.frame) for e in plain[1]]


def test_certainty() -> None:
    """1 for one possibility, 0 for all alike, a half for two of many."""
    size = 1000
    one = torch.full((size,), -torch.inf)
    one[3] = 0
    two = one.clone()
    two[4] = 0
    logits = torch.stack([one.clamp(min=-1e4), torch.zeros(size), two.clamp(min=-1e4)])
    sure = certainty(logits.log_softmax(-1))
    torch.testing.assert_close(sure, torch.tensor([1.0, 0.0, 0.5]), atol=1e-3, rtol=0)
