"""Phrases that are likely -> a tree whose branches the search prefers.

A list of phrases is taken for a small language model that speaks now and then: before a word it is as likely as its
weight says, and every token that fits one of its phrases makes it likelier, the more the rarer that token is (Bayes).
So the first token of one phrase among thousands gains next to nothing, and the fourth of a phrase that has come true so
far gains much. A phrase that fails half-way goes on at the longest other phrase that its last tokens began (Aho and
Corasick 1975).
"""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.errors import OptionError
from nemotron_asr.tokenizer import Tokenizer

MOST_PHRASES = 10_000
LONGEST_PHRASE = 200
"""Characters."""

MOST_CHARACTERS = 200_000
"""Of all phrases together: clients of a server give them, and each becomes some three nodes of a tree."""

MOST_ARCS = 3_000_000
"""Of a tree; 10,000 names of two words have two millions. A node has many where many phrases begin within others."""

MOST_WEIGHT = 4.0

PRIOR = 0.0003
"""How likely a word is to begin a phrase, if all phrases had weight 0; each unit of weight makes it ten times that."""

EXPECTED = 3.0
"""How many times as likely as its frequency a token is assumed to be where it fits the text and the sound."""

LEAST_GAIN = 0.01
"""Smaller gains are left out."""

MOST_GAIN = 14.0
"""The most that is added to a logit."""

LONGEST_ENDING = 3
"""Letters by which the last token may go beyond a phrase, which is then an inflected form of it."""

ROOT = 0

Weights = Mapping[str, float]
Boost = Weights | Sequence[str]
"""Phrases with weights, or phrases of which some have one at their end: "Nemotron:2"."""


def phrase_weights(boost: Boost) -> dict[str, float]:
    """Phrases and their weights; 1 where none is given.

    Raises:
        OptionError: a phrase is empty or too long, a weight is no number or out of range, or they are too many, or too
            long together.
    """
    weights = {" ".join(phrase.split()): _number(phrase, weight) for phrase, weight in _pairs(boost)}
    if len(weights) > MOST_PHRASES:
        raise OptionError(f"{len(weights)} phrases are too many to boost; the limit is {MOST_PHRASES}", "boost")
    if (characters := sum(map(len, weights))) > MOST_CHARACTERS:
        message = f"phrases of {characters} characters in all are too long to boost; the limit is {MOST_CHARACTERS}"
        raise OptionError(message, "boost")
    for phrase, weight in weights.items():
        if not 0 < len(phrase) <= LONGEST_PHRASE:
            message = f"phrase {phrase[:40]!r} has {len(phrase)} characters; 1 to {LONGEST_PHRASE} are possible"
            raise OptionError(message, "boost")
        if not 0 <= weight <= MOST_WEIGHT:
            message = f"weight {weight:g} of phrase {phrase!r} is out of range; choose 0 to {MOST_WEIGHT:g}"
            raise OptionError(message, "boost")
    return {phrase: weight for phrase, weight in weights.items() if weight}


def _pairs(boost: Boost) -> Iterable[tuple[str, float | str]]:
    if isinstance(boost, Mapping):
        return boost.items()
    return map(_split, [boost] if isinstance(boost, str) else boost)


def _split(entry: str) -> tuple[str, float | str]:
    found = re.fullmatch(r"(.*\S)\s*:\s*([-+]?[\d.,]+(?:e[-+]?\d+)?|nan|inf)", entry, re.DOTALL | re.IGNORECASE)
    return (found[1], found[2]) if found else (entry, 1.0)


def _number(phrase: str, weight: float | str) -> float:
    try:
        return float(weight)
    except (ValueError, TypeError, OverflowError):
        message = f"weight {str(weight)[:40]!r} of phrase {phrase[:40]!r} is not a number; choose 0 to {MOST_WEIGHT:g}"
        raise OptionError(message, "boost") from None


@dataclass(frozen=True, eq=False)
class BoostTree:
    """Where each token leads, and what it gains, from every place within the phrases.

    Attributes:
        first: (nodes + 1,) where the arcs of each node begin; node 0 is the place before all phrases.
        token, target, gain: (arcs,) the arcs: a token, the node behind it, and what is added to the token's logit.
            Those of a node to whose tokens nothing is added are its last.
    """

    first: NDArray[np.int64]
    token: NDArray[np.int64]
    target: NDArray[np.int64]
    gain: NDArray[np.float32]

    def __bool__(self) -> bool:
        """Whether there are phrases."""
        return bool(len(self.token))


NO_BOOST = BoostTree(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def boost_tree(boost: Boost, tokenizer: Tokenizer) -> BoostTree:
    """The tree of phrases; those who ask for the same phrases share one.

    Raises:
        OptionError: see `phrase_weights`; or the tree would be too large.
    """
    return _tree(tuple(_pairs(boost)), tokenizer)


@lru_cache(maxsize=16)
def _tree(pairs: tuple[tuple[str, float], ...], tokenizer: Tokenizer) -> BoostTree:
    """Checks and builds a list once, not once for every stream that has it."""
    weights = phrase_weights(dict(pairs))
    return _build(tuple(sorted(weights.items())), tokenizer) if weights else NO_BOOST


@lru_cache(maxsize=16)
def _build(weights: tuple[tuple[str, float], ...], tokenizer: Tokenizer) -> BoostTree:
    return _Builder(tokenizer).build(dict(weights))


_Arcs = dict[int, tuple[int, float]]
"""token -> (node, gain)"""


@dataclass(slots=True)
class _Node:
    """A place within phrases."""

    children: dict[int, int] = field(default_factory=dict)  # token -> node
    mass: float = 0.0  # prior probability of the phrases that go through here
    endings: dict[int, float] = field(default_factory=dict)  # token that ends an inflected phrase -> its mass
    fail: int = ROOT
    odds: float = 1.0  # that a phrase is being said, here


class _Builder:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._inflections = tokenizer, _inflections(tokenizer)
        self._surprise = [1 / (EXPECTED * frequency) for frequency in tokenizer.frequencies]
        self._nodes = [_Node()]

    def build(self, weights: Weights) -> BoostTree:
        for phrase, weight in weights.items():
            spellings = {tuple(self._spell(text)) for text in _variants(phrase)} - {()}
            for tokens in spellings:
                self._add(tokens, PRIOR * 10**weight / len(weights) / len(spellings))
        self._nodes[ROOT].mass = 1.0
        order = self._set_fails()
        arcs = [self._arcs(node) for node in [ROOT, *order]]
        by_node = dict(zip([ROOT, *order], arcs, strict=True))
        count = 0
        for node in order:  # shorter ones first, so that what is inherited is complete
            if (fail := self._nodes[node].fail) != ROOT:
                by_node[node] = {**by_node[fail], **by_node[node]}
            count += len(by_node[node])
            if count > MOST_ARCS:
                raise OptionError(f"{len(weights)} phrases that begin within each other are too many to boost", "boost")
        return _packed([by_node[node] for node in range(len(self._nodes))])

    def _spell(self, text: str) -> list[int]:
        """The tokens of a text; none if one of them is no text: unknown characters, language tags, `<blank>`."""
        tokenizer = self._tokenizer
        tokens, no_text = tokenizer.encode(text), {tokenizer.unknown, *tokenizer.language_tags}
        return [] if any(token in no_text or token >= tokenizer.vocab_size for token in tokens) else tokens

    def _add(self, tokens: Sequence[int], mass: float) -> None:
        node, rest = self._nodes[ROOT], "".join(map(self._tokenizer.text, tokens))
        for token in tokens:
            for inflected in self._inflections.get(rest, ()) if node is not self._nodes[ROOT] else ():
                node.endings[inflected] = node.endings.get(inflected, 0.0) + mass
            node = self._nodes[self._child(node, token)]
            node.mass += mass
            rest = rest[len(self._tokenizer.text(token)) :]

    def _child(self, node: _Node, token: int) -> int:
        if token not in node.children:
            node.children[token] = len(self._nodes)
            self._nodes.append(_Node())
        return node.children[token]

    def _set_fails(self) -> list[int]:
        """Breadth first: where a phrase goes on that failed."""
        order = list(self._nodes[ROOT].children.values())
        for number in order:
            node = self._nodes[number]
            for token, child in node.children.items():
                fail = node.fail
                while fail != ROOT and token not in self._nodes[fail].children:
                    fail = self._nodes[fail].fail
                self._nodes[child].fail = self._nodes[fail].children.get(token, ROOT)
                order.append(child)
        return order

    def _arcs(self, number: int) -> _Arcs:
        """What goes on from a node within its own phrases; sets the odds of the nodes behind it."""
        node, surprise = self._nodes[number], self._surprise
        share = node.odds / node.mass
        arcs = {token: (ROOT, _gain(share * mass * surprise[token])) for token, mass in node.endings.items()}
        for token, child in node.children.items():
            behind = self._nodes[child]
            behind.odds = share * behind.mass * surprise[token]
            arcs[token] = child, _gain(behind.odds)
        return arcs


def _gain(odds: float) -> float:
    """What the logit of a token gains that makes a phrase as likely as this."""
    gain = math.log1p(odds)
    return min(gain, MOST_GAIN) if gain > LEAST_GAIN else 0.0


@lru_cache(maxsize=4)
def _inflections(tokenizer: Tokenizer) -> Mapping[str, Sequence[int]]:
    """Ends of phrases -> the tokens that spell them and a few letters more."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for token in range(tokenizer.vocab_size):
        text = tokenizer.text(token)
        for ending in range(1, LONGEST_ENDING + 1):
            if text[-ending:].isalpha() and len(text) > ending + 1:
                found[text[:-ending]].append(token)
    return found


def _variants(phrase: str) -> Iterator[str]:
    """As it was given, and in the other cases that it may be written in."""
    text = unicodedata.normalize("NFKC", phrase)
    yield from dict.fromkeys(
        [text, text.lower(), text.upper(), " ".join(word[:1].upper() + word[1:].lower() for word in text.split(" "))]
    )


def _gains_nothing(arc: tuple[int, tuple[int, float]]) -> bool:
    return not arc[1][1]


def _packed(arcs: Sequence[_Arcs]) -> BoostTree:
    """In one array a pass: unpacking all arcs at once would keep every other thread waiting."""
    flat = [(token, *arc) for node in arcs for token, arc in sorted(node.items(), key=_gains_nothing)]
    return BoostTree(
        np.cumsum([0, *map(len, arcs)], dtype=np.int64),
        np.fromiter((token for token, _, _ in flat), np.int64, len(flat)),
        np.fromiter((target for _, target, _ in flat), np.int64, len(flat)),
        np.fromiter((gain for _, _, gain in flat), np.float32, len(flat)),
    )
