"""Memory and time of the transducer loss at the released model's size, in tiles and plain.

    python benchmarks/loss.py                 # one 20 s clip: 250 frames, 280 tokens, 13,088 outputs
    python benchmarks/loss.py --plain         # the same with all logits at once: 8 GB, or more

Memory is what the loss and its gradients add to the process at most, time that of all its threads.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.training.joint import joint_arcs, valid_cells
from nemotron_asr.training.loss import lattice_loss

Inputs = tuple[Tensor, Tensor, nn.Linear, Tensor]


def inputs(frames: int, tokens: int, outputs: int, width: int) -> Inputs:
    """What an untrained joint hears, the worst case: no alignment is likelier than another."""
    torch.manual_seed(0)
    enc, pred, head = torch.randn(1, frames, width), torch.randn(1, tokens + 1, width), nn.Linear(width, outputs)
    return enc.requires_grad_(), pred.requires_grad_(), head, torch.randint(0, outputs - 1, (1, tokens))


def tiled(given: Inputs) -> Tensor:
    """The loss that training uses."""
    enc, pred, head, targets = given
    lengths = torch.tensor([enc.shape[1]]), torch.tensor([targets.shape[1]])
    cells = valid_cells(*lengths, enc.shape[1], targets.shape[1])
    return lattice_loss(*joint_arcs(enc, pred, head, targets, cells), *lengths, 5e-3).sum()


def plain(given: Inputs) -> Tensor:
    """The same from all logits."""
    enc, pred, head, targets = given
    logits = head(torch.relu(enc[:, :, None] + pred[:, None]))
    lengths = torch.tensor([enc.shape[1]]), torch.tensor([targets.shape[1]])
    arcs = cast("Callable[..., tuple[Tensor, Tensor]]", _TwoColumns.apply)(logits, targets)
    return lattice_loss(*arcs, *lengths, 5e-3).sum()


class _TwoColumns(torch.autograd.Function):
    """Of log_softmax only the last column, blank, and that of the next label: no second tensor as large is kept."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, -1)
        total = torch.logsumexp(logits, -1)
        ctx.save_for_backward(logits, index, total)
        return logits[..., -1] - total, logits[:, :, :-1].gather(3, index)[..., 0] - total[:, :, :-1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        logits, index, total = ctx.saved_tensors
        blanks, labels = grads
        grad = torch.sub(logits, total[..., None]).exp_().mul_(-(blanks + F.pad(labels, (0, 1)))[..., None])
        grad[..., -1] += blanks
        grad[:, :, :-1].scatter_add_(3, index, labels[..., None])
        return grad, None


def peak() -> int:
    """The most memory that this process had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--tokens", type=int, default=280)
    parser.add_argument("--outputs", type=int, default=13_088)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--plain", action="store_true", help="all logits at once")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = inputs(options.frames, options.tokens, options.outputs, options.width)
    loss_of = plain if options.plain else tiled
    loss_of(inputs(8, 8, 64, 32)).backward()  # libraries load what they need
    before, began = peak(), time.process_time()
    loss = loss_of(given)
    forward = time.process_time() - began
    loss.backward()
    seconds = time.process_time() - began
    print(
        f"{'plain' if options.plain else 'tiled'}: loss {loss.item():.4f}, {(peak() - before) / 1e6:,.0f} MB,", end=" "
    )
    print(f"{forward:.1f} s forward, {seconds - forward:.1f} s backward, {seconds:.1f} s")


if __name__ == "__main__":
    main()
