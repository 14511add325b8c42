"""The joint without its big tensor against the joint with it."""

import pytest
import torch
from torch import nn

from nemotron_asr.training import joint
from nemotron_asr.training.joint import joint_arcs
from nemotron_asr.training.loss import lattice_loss, rnnt_loss


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_loss_and_gradients_equal_those_of_the_whole_joint(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "CPU_BLOCK", block)
    torch.manual_seed(0)
    enc = torch.randn(3, 6, 8, dtype=torch.float64, requires_grad=True)
    pred = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    head = nn.Linear(8, 11).double()
    targets, frames, tokens = torch.randint(0, 10, (3, 4)), torch.tensor([6, 1, 4]), torch.tensor([4, 0, 3])
    leaves = [enc, pred, head.weight, head.bias]
    arcs = joint_arcs(enc, pred, head, targets, frames, tokens, torch.float64)
    ours = lattice_loss(*arcs, frames, tokens, 0.1)
    logits = head(torch.relu(enc[:, :, None] + pred[:, None]))
    theirs = rnnt_loss(logits, targets, frames, tokens, blank=10, fastemit=0.1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), leaves), torch.autograd.grad(theirs.sum(), leaves))


def test_bfloat16_products_are_close() -> None:
    torch.manual_seed(1)
    enc, pred, head = torch.randn(2, 20, 32), torch.randn(2, 9, 32), nn.Linear(32, 64)
    args = (head, torch.randint(0, 63, (2, 8)), torch.tensor([20, 15]), torch.tensor([8, 5]))
    losses = [lattice_loss(*joint_arcs(enc, pred, *args, dtype), *args[2:]) for dtype in (torch.float32, torch.bfloat16)]
    torch.testing.assert_close(*losses, rtol=5e-3, atol=0.1)
