"""What a stream prefers and what it rules out, for a batch of streams at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from threading import Lock
from typing import Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from nemotron_asr.decoding.boosting import ROOT, BoostTree


@dataclass(frozen=True)
class Arcs:
    """Trees one after the other: as in `BoostTree`, but for targets, which are counted from the root of their tree."""

    first: Tensor
    token: Tensor
    target: Tensor
    gain: Tensor

    @classmethod
    def none(cls, device: torch.device) -> Self:
        """No tree but that of no phrases, whose root is node 0."""
        whole = torch.zeros(0, dtype=torch.long, device=device)
        return cls(torch.zeros(2, dtype=torch.long, device=device), whole, whole, whole.float())

    def and_(self, tree: BoostTree) -> "Arcs":
        """One tree more."""
        first, token, target, gain = (
            torch.from_numpy(part).to(self.first.device) for part in (tree.first, tree.token, tree.target, tree.gain)
        )
        return Arcs(
            torch.cat([self.first, first[1:] + len(self.token)]), torch.cat([self.token, token]),
            torch.cat([self.target, target]), torch.cat([self.gain, gain]),
        )  # fmt: skip


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
        self._arcs = self._arcs.and_(tree)

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
        blank: the token of silence.
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

    def choose(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The tokens that (n, T, vocab_size + 1) logits of some rows stand for: (n, T).

        Blank is left as it is: phrases are preferred to other words, not to silence.
        """
        if self.banned.shape[1]:
            shape = *logits.shape[:2], self.banned.shape[1]
            penalty = self.penalty[rows, None].to(logits.dtype)
            logits = logits.scatter_add(-1, self.banned[rows, None].expand(shape), penalty.expand(shape))
        best, token = logits.max(-1)
        gained, boosted = self._best_arc(logits, rows)
        return torch.where((gained > best) & (token != self.blank), boosted, token)

    def _best_arc(self, logits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(n, T) the best boosted logit and its token."""
        token, _, gain = self._arcs_of(rows)
        if not token.shape[1]:
            return torch.full(logits.shape[:2], -torch.inf, device=logits.device), torch.zeros_like(
                logits[..., 0], dtype=torch.long
            )
        scores = logits.gather(-1, token[:, None].expand(-1, logits.shape[1], -1)) + gain[:, None]
        best, index = scores.max(-1)
        return best, token.gather(1, index)

    def of_hypotheses(self, rows: Tensor, place: Tensor) -> "Bias":
        """The preferences of hypotheses: (n,) the rows of their streams, (n, 2) their own places."""
        number = self.place[rows, :1]
        place = torch.where(place[:, :1] == number, place, torch.cat([number, torch.zeros_like(number)], 1))
        banned, penalty = self.banned[rows], self.penalty[rows]
        return replace(self, root=self.root[rows], place=place, banned=banned, penalty=penalty)

    def preferred(self, logprobs: Tensor) -> Tensor:
        """Log-probabilities (n, vocab_size + 1) of all rows, preferences included; silence stays as likely as it is."""
        token, _, gain = self._arcs_of(torch.arange(len(logprobs), device=logprobs.device))
        added = torch.zeros_like(logprobs).scatter_reduce(1, token, gain.to(logprobs), "amax")
        added.scatter_add_(1, self.banned, self.penalty.to(logprobs))
        words = logprobs.index_fill(1, torch.tensor([self.blank], device=logprobs.device), -torch.inf)
        preferred = words + added
        preferred += words.logsumexp(1, keepdim=True) - preferred.logsumexp(1, keepdim=True)
        preferred[:, self.blank] = logprobs[:, self.blank]
        return preferred

    def said(self, rows: Tensor, tokens: Tensor) -> None:
        """Move on by a token in each of some rows."""
        token, target, gain = self._arcs_of(rows)
        if not token.shape[1]:
            self.place[rows, 1] = ROOT
            return
        taken = (token == tokens[:, None]) & gain.isfinite()
        index = taken.int().argmax(1)  # the first, which is the one within a phrase
        found = target.gather(1, index[:, None])[:, 0]
        self.place[rows, 1] = torch.where(taken.any(1), found, ROOT)

    def _arcs_of(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, arcs) the tokens, targets and gains from where some rows are, and from the beginnings of phrases."""
        inside, root = self.root[rows] + self.place[rows, 1], self.root[rows]
        parts = [self._padded(inside, inside != root), self._padded(root, torch.ones_like(root, dtype=torch.bool))]
        token, target, gain = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        return token, target, gain

    def _padded(self, node: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        arcs, first = self.arcs, self.arcs.first[node]
        number = torch.where(wanted, arcs.first[node + 1] - first, 0)
        offset = torch.arange(int(number.max()), device=node.device)
        exists = offset < number[:, None]
        arc = torch.where(exists, first[:, None] + offset, 0)
        return arcs.token[arc], arcs.target[arc], arcs.gain[arc].masked_fill(~exists, -torch.inf)
