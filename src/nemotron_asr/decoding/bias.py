"""What a stream prefers and what it rules out, for a batch of streams at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from threading import Lock
from typing import Self, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nemotron_asr.decoding.boosting import BoostTree

TOKEN_BITS = 32
"""A node and a token make one number, so that sorted ones can be searched for all rows at once."""

NOWHERE = 0
"""The node of no phrases, from which no arc leads."""

Integers = TypeVar("Integers", Tensor, NDArray[np.int64])


@dataclass(frozen=True)
class Arcs:
    """Trees one after the other: as in `BoostTree`, but for targets, which are counted from the root of their tree.

    Arc 0 stands for none: nothing gains by it, and it leads nowhere.

    Attributes:
        gaining: (nodes,) how many arcs of each node add something, which are its first.
        begin, last: (nodes,) the first and the last of those, or arc 0.
        key, behind: (arcs,) node * 2^32 + token, sorted, and the target of that arc: to find where a token leads.
    """

    first: Tensor
    token: Tensor
    target: Tensor
    gain: Tensor
    gaining: Tensor
    begin: Tensor
    last: Tensor
    key: Tensor
    behind: Tensor

    @classmethod
    def none(cls, device: torch.device) -> Self:
        """No tree but that of no phrases, whose root is node 0."""
        zero = torch.zeros(1, dtype=torch.long, device=device)
        first = torch.ones(2, dtype=torch.long, device=device)
        gain = torch.full_like(zero, -torch.inf, dtype=torch.float)
        return cls(first, zero, zero, gain, zero, zero, zero, key=zero - 1, behind=zero)

    def with_tree(self, tree: BoostTree) -> "Arcs":
        """One tree more."""
        nodes, arcs = len(self.gaining), len(self.token)
        node = np.repeat(np.arange(len(tree.first) - 1), np.diff(tree.first)) + nodes
        key = _key(node, tree.token)
        order = np.argsort(key, kind="stable")
        gaining = np.diff(np.cumsum(np.append(0, tree.gain > 0))[tree.first])
        first = tree.first + arcs
        ends = np.where(gaining > 0, [first[:-1], first[:-1] + gaining - 1], 0)
        new = {
            "first": first[1:], "token": tree.token, "target": tree.target, "gain": tree.gain, "gaining": gaining,
            "begin": ends[0], "last": ends[1], "key": key[order], "behind": tree.target[order],
        }  # fmt: skip
        ours = vars(self)
        return Arcs(**{name: torch.cat([ours[name], torch.from_numpy(new[name]).to(ours[name])]) for name in ours})

    def gains(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) nodes -> (n, arcs) their tokens that gain something, and what; what fills up gains nothing more."""
        begin, last = self.begin.take(nodes)[:, None], self.last.take(nodes)[:, None]
        most = int((last - begin).max()) + 1
        arc = torch.minimum(begin + torch.arange(most, device=nodes.device), last)
        return self.token.take(arc), self.gain.take(arc)

    def follow(self, nodes: Tensor, tokens: Tensor) -> Tensor:
        """Where (n,) tokens lead from (k, n) nodes, from the last of these if it has such an arc: (n,), or the root."""
        key = _key(nodes, tokens)
        index = torch.searchsorted(self.key, key).clamp_(max=len(self.key) - 1)
        taken = self.key.take(index) == key
        target = self.behind.take(index * taken)
        return target[0] if len(nodes) == 1 else torch.where(taken[1], target[1], target[0])


class BoostTables:
    """The trees of many streams in one set of tensors, into which a tree is put when it is first used.

    Trees that no stream uses any more are swept out when they have come to be half of all.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = Lock()
        self._numbers = count(1)  # 0 stands for no phrases
        self._arcs = Arcs.none(device)
        self._places: WeakKeyDictionary[BoostTree, tuple[int, int]] = WeakKeyDictionary()  # number, root

    def place(self, trees: Sequence[BoostTree]) -> tuple[Arcs, Tensor, Tensor]:
        """The arcs of trees, (B,) their numbers, and (B,) their roots."""
        with self._lock:
            for tree in trees:
                if tree and tree not in self._places:
                    self._sweep(len(tree.token))
                    self._put(tree, next(self._numbers))
            places = [self._places[tree] if tree else (0, 0) for tree in trees]
            numbers, roots = torch.tensor(places, device=self._device).T
            return self._arcs, numbers, roots

    def _put(self, tree: BoostTree, number: int) -> None:
        self._places[tree] = number, len(self._arcs.first) - 1
        self._arcs = self._arcs.with_tree(tree)

    def _sweep(self, coming: int) -> None:
        used = coming + sum(len(tree.token) for tree in self._places)
        if len(self._arcs.token) + coming > 2 * used:
            self._arcs = Arcs.none(self._device)
            for tree, (number, _) in list(self._places.items()):
                self._put(tree, number)


@dataclass
class Bias:
    """The preferences of a batch; rows are those of the batch.

    Attributes:
        arcs: the phrases of all streams.
        root: (B,) where those of each row begin.
        place: (B, 2) the number of the tree that a row was last in, and its node there; moves on.
        banned: (B, banned) tokens that may not be said.
        penalty: (B, banned) what is added to their logits: -inf, and 0 for what fills up a row.
        blank: the token that says nothing.
    """

    arcs: Arcs
    root: Tensor
    place: Tensor
    banned: Tensor
    penalty: Tensor
    blank: int

    @classmethod
    def of(
        cls,
        trees: Sequence[BoostTree],
        banned: Sequence[Sequence[int]],
        place: Tensor,
        tables: BoostTables,
        blank: int,
    ) -> Self:
        """The preferences of streams by their trees and the tokens that they may not say."""
        arcs, number, root = tables.place(trees)
        place = torch.where(place[:, :1] == number[:, None], place, torch.stack([number, number * 0], 1))
        most = max(map(len, banned))
        rows = [[*tokens, *[blank] * (most - len(tokens))] for tokens in banned]
        filled = torch.tensor(rows, dtype=torch.long, device=place.device)
        penalty = torch.zeros_like(filled, dtype=torch.float).masked_fill(filled != blank, -torch.inf)
        return cls(arcs, root, place, filled, penalty, blank)

    def allowed(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Logits (n, T, vocab_size + 1) of some rows without what these rule out."""
        if not self.banned.shape[1]:
            return logits
        shape = *logits.shape[:2], self.banned.shape[1]
        penalty = self.penalty[rows, None].to(logits.dtype)
        return logits.scatter_add(-1, self.banned[rows, None].expand(shape), penalty.expand(shape))

    def choose(self, logits: Tensor, token: Tensor, rows: Tensor) -> Tensor:
        """The tokens (n,) that some rows say instead of those that their (n, vocab_size + 1) logits stand for.

        Only where something is said: phrases are preferred to other words, not to blank. The rows move on.
        """
        nodes = self._nodes(rows)
        liked, gain = self._gains(rows, nodes)
        gained, index = (logits.gather(1, liked) + gain).max(1, keepdim=True)
        own = token[:, None]
        said = torch.where(gained > logits.gather(1, own), liked.gather(1, index), own)[:, 0]
        self._follow(rows, nodes, said)
        return said

    def of_hypotheses(self, rows: Tensor, place: Tensor) -> "Bias":
        """The preferences of hypotheses: (n,) the rows of their streams, (n, 2) their own places."""
        number = self.place[rows, :1]
        place = torch.where(place[:, :1] == number, place, torch.cat([number, torch.zeros_like(number)], 1))
        banned, penalty = self.banned[rows], self.penalty[rows]
        return replace(self, root=self.root[rows], place=place, banned=banned, penalty=penalty)

    def preferred(self, logprobs: Tensor) -> Tensor:
        """Log-probabilities (n, vocab_size + 1) of all rows, preferences included; blank stays as likely as it is."""
        rows = torch.arange(len(logprobs), device=logprobs.device)
        token, gain = self._gains(rows, self._nodes(rows))
        added = torch.zeros_like(logprobs).scatter_reduce(1, token, gain.to(logprobs), "amax")
        added.scatter_add_(1, self.banned, self.penalty.to(logprobs))
        words = logprobs.index_fill(1, torch.tensor([self.blank], device=logprobs.device), -torch.inf)
        preferred = words + added
        preferred += words.logsumexp(1, keepdim=True) - preferred.logsumexp(1, keepdim=True)
        preferred[:, self.blank] = logprobs[:, self.blank]
        return preferred

    def said(self, rows: Tensor, tokens: Tensor) -> None:
        """Move on by a token in each of some rows: along the phrases that it is in, or to the beginning of others."""
        self._follow(rows, self._nodes(rows), tokens)

    def _nodes(self, rows: Tensor) -> Tensor:
        """Where phrases begin for some rows and, if any of these is within one, where they are: (1 or 2, n)."""
        root, place = self.root.take(rows), self.place[:, 1].take(rows)
        return torch.stack([root, root + place]) if place.any() else root[None]

    def _gains(self, rows: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens (n, arcs) that gain something at the nodes of some rows, and what; see `Arcs.gains`."""
        token, gain = (part.index_select(0, rows) for part in self._beginnings)
        if len(nodes) == 1:
            return token, gain
        root, place = nodes
        more = self.arcs.gains(place.where(place != root, NOWHERE))
        return torch.cat([token, more[0]], 1), torch.cat([gain, more[1]], 1)

    def _follow(self, rows: Tensor, nodes: Tensor, tokens: Tensor) -> None:
        self.place[:, 1].index_copy_(0, rows, self.arcs.follow(nodes, tokens))

    @cached_property
    def _beginnings(self) -> tuple[Tensor, Tensor]:
        """`_gains` of rows that are in no phrase, which blank and ordinary words leave as it is."""
        return self.arcs.gains(self.root)


def _key(node: Integers, token: Integers) -> Integers:
    return node << TOKEN_BITS | token
