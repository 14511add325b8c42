"""Phrases as a tree of tokens."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.decoding import boosting
from nemotron_asr.decoding.boosting import MOST_GAIN, NO_BOOST, ROOT, BoostTree, boost_tree, phrase_weights
from nemotron_asr.errors import OptionError
from nemotron_asr.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_checkpoint("tiny").tokenizer


def arcs(tree: BoostTree, node: int) -> dict[int, tuple[int, float]]:
    """What `Bias` looks at: the arcs of a node, and those of the root where it has none."""
    found: dict[int, tuple[int, float]] = {}
    for place in dict.fromkeys([ROOT, node]):
        for arc in range(tree.first[place], tree.first[place + 1]):
            found[int(tree.token[arc])] = int(tree.target[arc]), float(tree.gain[arc])
    return found


def gains(tree: BoostTree, tokens: list[int]) -> list[float]:
    """What each token of a text gains."""
    node, gained = ROOT, []
    for token in tokens:
        node, gain = arcs(tree, node).get(token, (ROOT, 0.0))
        gained.append(gain)
    return gained


def test_a_phrase_that_comes_true_gains_more_and_more(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("Nemotron")
    few, many = (boost_tree(["Nemotron", *(f"word {i:b}" for i in range(n))], tokenizer) for n in (0, 1000))
    assert gains(few, tokens) == sorted(gains(few, tokens))
    assert gains(many, tokens)[0] < 0.01 < gains(few, tokens)[0] < 1
    assert gains(many, tokens)[-1] > 5
    assert max(gains(few, tokens)) <= MOST_GAIN


@pytest.mark.parametrize("spoken", ["new york", "New York", "NEW YORK", "New york"])
def test_cases(tokenizer: Tokenizer, spoken: str) -> None:
    tree = boost_tree(["New york"], tokenizer)
    assert gains(tree, tokenizer.encode(spoken))[-1] > 1


def test_an_inflected_last_token_belongs_to_the_phrase(tokenizer: Tokenizer) -> None:
    """ "Garten" may end in other tokens than "Gartens"; nothing that is much longer is taken for it."""
    for phrase, inflected in [("Garten", "Gartens"), ("Roboter", "Roboters"), ("colour", "colours")]:
        tree = boost_tree({phrase: 2}, tokenizer)
        shared = [gain > 0 for gain in gains(tree, tokenizer.encode(inflected))]
        assert sum(shared) >= len(shared) - 1, inflected


def test_a_phrase_that_fails_goes_on_in_another(tokenizer: Tokenizer) -> None:
    tree = boost_tree(["York Minster", "New York"], tokenizer)
    said = gains(tree, tokenizer.encode("New York Minster"))
    assert all(gain > 0 for gain in said)
    alone = gains(boost_tree(["New York"], tokenizer), tokenizer.encode("New York Minster"))
    assert alone[-1] < said[-1]


def test_weights(tokenizer: Tokenizer) -> None:
    assert phrase_weights(["Nemotron:2", "a: b", " New  York ", "x:0"]) == {"Nemotron": 2, "a: b": 1, "New York": 1}
    tokens = tokenizer.encode("Nemotron")
    light, heavy = (gains(boost_tree({"Nemotron": weight}, tokenizer), tokens) for weight in (1, 2))
    assert all(a <= b for a, b in zip(light, heavy, strict=True))
    odds = [math.expm1(each[0]) for each in (light, heavy)]
    assert odds[1] / odds[0] == pytest.approx(10, rel=1e-3)


def test_nothing_to_boost(tokenizer: Tokenizer) -> None:
    assert boost_tree([], tokenizer) is NO_BOOST
    assert boost_tree({"Nemotron": 0}, tokenizer) is NO_BOOST
    assert not NO_BOOST
    assert not boost_tree(["\N{SNOWMAN}"], tokenizer)
    assert not boost_tree(["<en-US>"], tokenizer)
    of_transformers = Tokenizer.from_json(tokenizer.to_json(for_transformers=True))
    assert not boost_tree(["<blank>", "<pad>"], of_transformers)
    assert boost_tree(["<blank>", "Nemotron"], of_transformers)


def test_equal_lists_share_a_tree(tokenizer: Tokenizer) -> None:
    assert boost_tree(["b", "a"], tokenizer) is boost_tree({"a": 1.0, "b": 1}, tokenizer)


@pytest.mark.parametrize(
    ("boost", "message"),
    [
        ([""], "phrase '' has 0 characters"),
        (["x" * 201], "has 201 characters; give 1 to 200|1 to 200"),
        ({"x": -1.0}, "weight -1 of phrase 'x' is out of range; choose 0 to 4"),
        ({"x": math.nan}, "weight nan of phrase 'x'"),
        ([str(i) for i in range(10_001)], "10001 phrases are too many"),
        (
            [f"{i:0200}" for i in range(1001)],
            "phrases of 200200 characters in all are too long to boost; the limit is 200000",
        ),
    ],
)
def test_what_cannot_be_boosted(tokenizer: Tokenizer, boost: list[str] | dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        boost_tree(boost, tokenizer)


def test_phrases_that_begin_within_each_other_do_not_fill_the_memory(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["ab", "cd", "ef", "gh", "ij"]
    within = [" ".join(three) for three in itertools.product(words, repeat=3)]
    tree = boost_tree(within, tokenizer)
    monkeypatch.setattr(boosting, "MOST_ARCS", len(tree.token) - 1)
    with pytest.raises(OptionError, match="126 phrases that begin within each other are too many to boost"):
        boost_tree([*within, "x"], tokenizer)
    assert boost_tree(["x"], tokenizer)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab c", min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=6))
def test_every_arc_leads_somewhere(tokenizer: Tokenizer, phrases: list[str]) -> None:
    tree = boost_tree(dict.fromkeys(phrases, 4.0), tokenizer)
    nodes = len(tree.first) - 1
    assert tree.first[0] == 0
    assert tree.first[-1] == len(tree.token) == len(tree.target) == len(tree.gain)
    assert ((tree.target >= 0) & (tree.target < nodes)).all()
    assert ((tree.gain >= 0) & (tree.gain <= MOST_GAIN)).all()
    for node in np.split(tree.gain > 0, tree.first[1:-1]):
        assert node.tolist() == sorted(node, reverse=True)  # those that gain nothing are the last
    for phrase in phrases:
        assert gains(tree, tokenizer.encode(" ".join(phrase.split())))[-1] > 0


@pytest.mark.parametrize("weight", ["-1", "5", "1e1", "2,5", "nan", "1.2.3"])
def test_a_weight_that_is_none_is_named(weight: str) -> None:
    with pytest.raises(OptionError, match="choose 0 to 4"):
        phrase_weights([f"rock:{weight}"])
