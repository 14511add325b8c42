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

CPU_CELLS, GPU_LOGITS = 1 << 10, 1 << 25
"""Size of a block: cells on a CPU, whose cache is small; logits on a GPU, which has to be filled (128 MB)."""

NEGLIGIBLE = 1e-12
"""A cell whose gradient is so much smaller than the largest adds less than float32 can tell: it is left out."""


def joint_arcs(
    enc: Tensor, pred: Tensor, head: nn.Linear, targets: Tensor, cells: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of blank and of the next label in some cells, as `lattice_loss` takes them.

    Args:
        enc: projected encoder frames (B, T, d_joint).
        pred: projected predictions (B, U + 1, d_joint).
        head: from d_joint to the vocabulary and, last, blank.
        targets: token ids (B, U).
        cells: which cells are wanted (B, T, U + 1), bool.
        dtype: of the matrix products, autocast's or that of `enc` unless given; sums are float32 or wider.

    Returns:
        (B, T, U + 1) and (B, T, U); `IMPOSSIBLE` in the other cells.
    """
    batch, frames, width = cells.shape
    wanted = cells.flatten().nonzero()[:, 0]
    row, u = wanted // width, wanted % width
    place = row // frames * width + u
    labels = F.pad(targets, (0, 1), value=head.out_features - 1).flatten()[place]
    device = enc.device.type
    dtype = dtype or (torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else enc.dtype)
    block = CPU_CELLS if device == "cpu" else max(CPU_CELLS, GPU_LOGITS // head.out_features)
    apply = cast("Callable[..., tuple[Tensor, Tensor]]", _Arcs.apply)
    with torch.autocast(device, enabled=False):  # the backward pass, which computes the same again, has none
        arcs = apply(enc.flatten(0, 1), pred.flatten(0, 1), head.weight, head.bias, (row, place, labels), dtype, block)
    blanks, says = (
        torch.full((cells.numel(),), IMPOSSIBLE, dtype=x.dtype, device=x.device).index_put((wanted,), x) for x in arcs
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


Cells = tuple[Tensor, Tensor, Tensor]
"""Of every cell: its row in `enc`, its row in `pred`, and its next label."""


class _Arcs(torch.autograd.Function):
    """Two columns of log_softmax(head(relu(enc + pred))) in some cells: the last one, blank, and the next label."""

    @staticmethod
    def forward(
        ctx: Any, enc: Tensor, pred: Tensor, weight: Tensor, bias: Tensor, cells: Cells, dtype: torch.dtype, block: int
    ) -> tuple[Tensor, Tensor]:
        small, shift, count = weight.to(dtype), bias.to(dtype), len(cells[0])
        row, place, labels = (F.pad(x, (0, block - count % block)) for x in cells)  # no new shapes, and a spare cell
        totals, blanks, says = (_wide(enc, dtype, len(row)) for _ in range(3))
        for i in range(0, len(totals), block):
            now = slice(i, i + block)
            logits = F.linear(_hidden(enc, pred, row[now], place[now]).to(dtype), small, shift).to(totals.dtype)
            blanks[now] = logits[:, -1]
            says[now] = logits.gather(1, labels[now, None])[:, 0]
            totals[now] = _logsumexp(logits)
        ctx.save_for_backward(enc, pred, weight, bias, totals, row, place, labels)
        ctx.dtype, ctx.block = dtype, block
        return (blanks - totals)[:count], (says - totals)[:count]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        enc, pred, weight, bias, totals, *cells = ctx.saved_tensors
        size = grads[0].abs() + grads[1].abs()
        felt = (~(size <= NEGLIGIBLE * size.amax())).nonzero()[:, 0]  # what is no number is felt
        felt = F.pad(felt, (0, -len(felt) % ctx.block), value=len(size))
        grads = tuple(F.pad(grad, (0, 1)) for grad in grads)  # of the spare cell: none
        small, shift = weight.to(ctx.dtype), bias.to(ctx.dtype)
        sums = [torch.zeros_like(x, dtype=totals.dtype) for x in (enc, pred)]
        head = [torch.zeros_like(x, dtype=totals.dtype) for x in (weight, bias) if ctx.needs_input_grad[2]]
        for now in felt.split(ctx.block):
            row, place, labels, blanks, says = (x[now] for x in (*cells, *grads))
            hidden = _hidden(enc, pred, row, place)
            grad = F.linear(hidden.to(ctx.dtype), small, shift).to(totals.dtype).sub_(totals[now, None]).exp_()
            grad.mul_(-(blanks + says)[:, None])
            grad[:, -1] += blanks
            grad.scatter_add_(1, labels[:, None], says[:, None])
            narrow = grad.to(ctx.dtype)
            if head:
                _add_product(head[0], narrow.T, hidden.to(ctx.dtype))
                head[1] += grad.sum(0)
            below = torch.mm(narrow, small).to(totals.dtype).masked_fill_(hidden <= 0, 0)
            sums[0].index_add_(0, row, below)
            sums[1].index_add_(0, place, below)
        gradients = [x.to(y.dtype) for x, y in zip([*sums, *head], (enc, pred, weight, bias), strict=False)]
        return (*gradients, *(None,) * (7 - len(gradients)))


def _wide(like: Tensor, dtype: torch.dtype, length: int) -> Tensor:
    wide = torch.promote_types(torch.promote_types(like.dtype, dtype), torch.float32)
    return torch.empty(length, dtype=wide, device=like.device)


def _hidden(enc: Tensor, pred: Tensor, row: Tensor, place: Tensor) -> Tensor:
    return F.relu(enc[row] + pred[place])


def _logsumexp(logits: Tensor) -> Tensor:
    """As torch's, but in place."""
    peak = logits.amax(1, keepdim=True)
    return logits.sub_(peak).exp_().sum(1).log_().add_(peak[:, 0])


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a @ b in place, without a second tensor of its size where the types allow it."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
