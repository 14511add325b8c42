"""The joint over a lattice, block by block: no tensor of batch x frames x tokens x vocabulary ever exists.

The joint is what fills memory in transducer training. Its loss needs two numbers a cell, so logits are made for a block
of cells, reduced, and dropped; the backward pass makes them again. Only the cells that are asked for are computed:
`valid_cells` leaves out the padding, `likely_cells` all that lies far from the alignment.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.training.loss import IMPOSSIBLE, blank_shares

CPU_BLOCK, GPU_BLOCK = 1 << 10, 1 << 15
"""Cells at once: what fits a processor's cache, and what fills a GPU."""


def joint_arcs(
    enc: Tensor,
    pred: Tensor,
    head: nn.Linear,
    targets: Tensor,
    cells: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of blank and of the next label in some cells, as `arc_log_probs` gives them.

    Args:
        enc: projected encoder frames (B, T, d_joint).
        pred: projected predictions (B, U + 1, d_joint).
        head: from d_joint to the vocabulary and, last, blank.
        targets: token ids (B, U).
        cells: which cells are wanted (B, T, U + 1), bool.
        dtype: of the matrix products; sums are float32 or wider.

    Returns:
        (B, T, U + 1) and (B, T, U); `IMPOSSIBLE` in the other cells.
    """
    batch, frames, width = enc.shape[0], enc.shape[1], pred.shape[1]
    wanted = cells.flatten().nonzero()[:, 0]
    block = CPU_BLOCK if enc.device.type == "cpu" else GPU_BLOCK
    padded = F.pad(wanted, (0, -len(wanted) % block))  # repeats of cell 0, which are cut off below
    row, u = padded // width, padded % width
    hidden = F.relu(enc.flatten(0, 1)[row] + pred.flatten(0, 1)[row // frames * width + u]).to(dtype)
    labels = F.pad(targets, (0, 1), value=head.out_features - 1).flatten()[row // frames * width + u]
    arcs = cast("Callable[..., tuple[Tensor, Tensor]]", _Arcs.apply)(hidden, head.weight, head.bias, labels, block)
    blanks, says = (
        torch.full((cells.numel(),), IMPOSSIBLE, dtype=x.dtype, device=x.device).index_put((wanted,), x[: len(wanted)])
        for x in arcs
    )
    return blanks.view(batch, frames, width), says.view(batch, frames, width)[:, :, :-1]


def valid_cells(frame_lengths: Tensor, target_lengths: Tensor, frames: int, tokens: int) -> Tensor:
    """The cells (B, T, U + 1) inside the utterances' lengths."""
    t = torch.arange(frames, device=frame_lengths.device)[:, None]
    u = torch.arange(tokens + 1, device=frame_lengths.device)
    return (t < frame_lengths[:, None, None]) & (u <= target_lengths[:, None, None])


def likely_cells(labels: Tensor, frame_lengths: Tensor, target_lengths: Tensor, margin: float) -> Tensor:
    """The valid cells within `margin` tokens of the alignment that a cheaper model expects.

    Pruning a transducer's lattice is due to Kuang et al., "Pruned RNN-T for fast, memory-efficient ASR training", 2022;
    here the CTC head is the cheaper model. Every path says one blank per frame, so labels alone weigh it.

    Args:
        labels: the cheaper model's log-probability of saying token u in frame t (B, T, U).
        frame_lengths: (B,).
        target_lengths: (B,).
        margin: tokens, at least 1: then the band holds at least one whole path.
    """
    shares = blank_shares(
        labels.new_zeros(*labels.shape[:2], labels.shape[2] + 1), labels, frame_lengths, target_lengths
    )
    u = torch.arange(labels.shape[2] + 1, device=labels.device)
    leaving = (shares * u).sum(-1, keepdim=True)  # tokens expected to be said by the end of a frame
    entering = F.pad(leaving, (0, 0, 1, 0))[:, :-1]
    band = (u >= entering - margin) & (u <= leaving + margin)
    return band & valid_cells(frame_lengths, target_lengths, *labels.shape[1:])


class _Arcs(torch.autograd.Function):
    """Two columns of log_softmax(head(hidden)): the last one, blank, and each row's label."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, block: int
    ) -> tuple[Tensor, Tensor]:
        small, shift = weight.to(hidden.dtype), bias.to(hidden.dtype)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        totals, blanks, says = (torch.empty(len(hidden), dtype=wide, device=hidden.device) for _ in range(3))
        for i in range(0, len(hidden), block):
            rows = slice(i, i + block)
            logits = F.linear(hidden[rows], small, shift).to(wide)
            totals[rows] = logits.logsumexp(1)
            blanks[rows] = logits[:, -1]
            says[rows] = logits.gather(1, labels[rows, None])[:, 0]
        ctx.save_for_backward(hidden, weight, bias, labels, totals)
        ctx.block = block
        return blanks - totals, says - totals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        hidden, weight, bias, labels, totals = ctx.saved_tensors
        blanks, says = grads
        small, shift = weight.to(hidden.dtype), bias.to(hidden.dtype)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        grad_bias = torch.zeros_like(bias)
        for i in range(0, len(hidden), ctx.block):
            rows = slice(i, i + ctx.block)
            grad = F.linear(hidden[rows], small, shift).to(totals.dtype).sub_(totals[rows, None]).exp_()
            grad.mul_(-(blanks[rows] + says[rows])[:, None])
            grad[:, -1] += blanks[rows]
            grad.scatter_add_(1, labels[rows, None], says[rows, None])
            grad_bias += grad.sum(0)
            grad = grad.to(hidden.dtype)
            torch.mm(grad, small, out=grad_hidden[rows])
            grad_weight += grad.T @ hidden[rows]
        return grad_hidden, grad_weight, grad_bias, None, None
