"""The transducer loss, from the two numbers a lattice cell needs: the log-probability of blank and of the next label.

It sums over all alignments, one anti-diagonal at a time, for the whole batch and both directions at once.

Reference: Graves, "Sequence Transduction with Recurrent Neural Networks", 2012.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

IMPOSSIBLE = -1e30
"""Log-probability of what cannot happen: finite, so that sums of it stay numbers."""


def lattice_loss(
    blanks: Tensor, labels: Tensor, frame_lengths: Tensor, target_lengths: Tensor, fastemit: float = 0.0
) -> Tensor:
    """Negative log-probability of each target, summed over all its alignments.

    Args:
        blanks: log-probability of blank in every cell (B, T, U + 1), float32 or float64.
        labels: the same of the next label (B, T, U).
        frame_lengths: frames of each utterance (B,), 1..T.
        target_lengths: tokens of each utterance (B,), 0..U.
        fastemit: the gradient of every label arc is scaled by 1 + fastemit, so that tokens come earlier; the loss
            itself does not change (Yu et al., "FastEmit", 2021).

    Returns:
        Losses (B,). A target whose every alignment has probability zero has infinite loss and no gradient. Where a
        log-probability is no number, neither is the loss, nor its gradient.

    Raises:
        ValueError: a length outside its range.
    """
    _check(blanks, labels, frame_lengths, target_lengths)
    apply = cast("Callable[..., Tensor]", _Lattice.apply)
    return apply(blanks, labels, frame_lengths, target_lengths, fastemit)


def _check(blanks: Tensor, labels: Tensor, frames: Tensor, tokens: Tensor) -> None:
    t, u = blanks.shape[1], blanks.shape[2] - 1
    if labels.shape[2] != u:
        raise ValueError(f"blanks are for {u} labels, there are {labels.shape[2]}")
    if not bool(((frames >= 1) & (frames <= t)).all()):
        raise ValueError(f"frame lengths {frames.tolist()} are not all in 1..{t}")
    if not bool(((tokens >= 0) & (tokens <= u)).all()):
        raise ValueError(f"target lengths {tokens.tolist()} are not all in 0..{u}")


class _Lattice(torch.autograd.Function):
    """Sum over all paths from (0, 0) through (T - 1, U) and a last blank, and each arc's share of that sum."""

    @staticmethod
    def forward(ctx: Any, blanks: Tensor, labels: Tensor, frames: Tensor, tokens: Tensor, fastemit: float) -> Tensor:
        losses, blank_share, label_share = _occupancies(blanks, labels, frames, tokens)
        ctx.save_for_backward(blank_share, (1 + fastemit) * label_share)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        blank_share, label_share = ctx.saved_tensors
        grad = grads[0][:, None, None]
        return -grad * blank_share, -grad * label_share, None, None, None


def blank_shares(blanks: Tensor, labels: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """The probability (B, T, U + 1) that frame t is left after u tokens: sums to one over u in every valid frame."""
    return _occupancies(blanks, labels, frames, tokens)[1]


def _occupancies(blanks: Tensor, labels: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (B,), and the probability of every blank (B, T, U + 1) and label arc (B, T, U) to be on the path."""
    labels = F.pad(labels, (0, 1), value=IMPOSSIBLE).clamp(min=IMPOSSIBLE)
    blanks = blanks.clamp(min=IMPOSSIBLE)
    alpha, beta = _scores(blanks, labels, frames, tokens)
    total = beta[:, :1, :1]
    possible = ~(total <= IMPOSSIBLE / 2)  # what is no number stays none, for the trainer to see
    rows = torch.arange(len(frames), device=frames.device)
    after_blank = F.pad(beta[:, 1:], (0, 0, 0, 1), value=IMPOSSIBLE)
    after_blank[rows, frames - 1, tokens] = 0  # after the last blank nothing is left to say: probability one
    after_label = F.pad(beta[:, :, 1:], (0, 1), value=IMPOSSIBLE)
    blank_share = torch.where(possible, (alpha + blanks + after_blank - total).clamp(max=0).exp(), 0)
    label_share = torch.where(possible, (alpha + labels + after_label - total).clamp(max=0).exp(), 0)
    return torch.where(possible, -total, torch.inf)[:, 0, 0], blank_share, label_share[:, :, :-1]


def _scores(blanks: Tensor, labels: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of reaching each cell, and of finishing from it: both (B, T, U + 1), `IMPOSSIBLE` outside.

    The second is the first on the lattice turned by 180 degrees, so one scan computes both.
    """
    batch, n_frames, width = blanks.shape
    u = torch.arange(width, device=blanks.device)
    t = torch.arange(n_frames + width - 1, device=blanks.device)[:, None, None] - u  # (diagonals, 1, U + 1)
    last_t, last_u = (frames - 1)[:, None], tokens[:, None]
    rows = torch.arange(batch, device=blanks.device)[:, None]

    def cell(x: Tensor, t: Tensor, u: Tensor) -> Tensor:
        inside = (t >= 0) & (t <= last_t) & (u >= 0) & (u <= last_u)
        return torch.where(inside, x[rows, t.clamp(0, n_frames - 1), u.clamp(0, width - 1)], IMPOSSIBLE)

    inside = (t >= 0) & (t <= last_t) & (u <= last_u)
    stay = torch.cat([torch.where(inside, cell(blanks, t - 1, u), IMPOSSIBLE), cell(blanks, last_t - t, last_u - u)], 1)
    move = torch.cat([torch.where(inside, cell(labels, t, u - 1), IMPOSSIBLE), cell(labels, last_t - t, last_u - u)], 1)
    start = torch.cat([blanks.new_zeros(batch), blanks[rows[:, 0], frames - 1, tokens]])
    reached, finishing = _scan(stay, move, start).tensor_split(2, 1)
    t = torch.arange(n_frames, device=blanks.device)[:, None]
    alpha = reached[t + u, rows[..., None], u]
    back_t, back_u = last_t[..., None] - t, last_u[..., None] - u
    inside = (back_t >= 0) & (back_u >= 0)
    beta = finishing[(back_t + back_u).clamp(min=0), rows[..., None], back_u.clamp(min=0)]
    return torch.where(inside, alpha, IMPOSSIBLE), torch.where(inside, beta, IMPOSSIBLE)


def _scan(stay: Tensor, move: Tensor, start: Tensor) -> Tensor:
    """Scores of all cells, diagonal by diagonal; inputs are the weights of the arcs into each (D, N, U + 1)."""
    scores = stay.new_full((stay.shape[0], stay.shape[1], stay.shape[2] + 1), IMPOSSIBLE)
    scores[0, :, 1] = start
    for before, now, blank, label in zip(scores[:-1], scores[1:], stay[1:], move[1:], strict=True):
        torch.logaddexp(before[:, 1:] + blank, before[:, :-1] + label, out=now[:, 1:])
    return scores[:, :, 1:]
