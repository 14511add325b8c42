"""The joint without its big tensor against the joint with it."""

import pytest
import torch
from torch import nn

from nemotron_asr.training import joint
from nemotron_asr.training.joint import joint_arcs, likely_cells, valid_cells
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
    arcs = joint_arcs(enc, pred, head, targets, valid_cells(frames, tokens, 6, 4), torch.float64)
    ours = lattice_loss(*arcs, frames, tokens, 0.1)
    logits = head(torch.relu(enc[:, :, None] + pred[:, None]))
    theirs = rnnt_loss(logits, targets, frames, tokens, blank=10, fastemit=0.1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), leaves), torch.autograd.grad(theirs.sum(), leaves))


def test_bfloat16_products_are_close() -> None:
    torch.manual_seed(1)
    enc, pred, head = torch.randn(2, 20, 32), torch.randn(2, 9, 32), nn.Linear(32, 64)
    targets, frames, tokens = torch.randint(0, 63, (2, 8)), torch.tensor([20, 15]), torch.tensor([8, 5])
    cells = valid_cells(frames, tokens, 20, 8)
    losses = [
        lattice_loss(*joint_arcs(enc, pred, head, targets, cells, dtype), frames, tokens)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    torch.testing.assert_close(*losses, rtol=5e-3, atol=0.1)


def test_a_wide_band_is_the_whole_lattice() -> None:
    torch.manual_seed(2)
    frames, tokens = torch.tensor([12, 7, 1]), torch.tensor([5, 0, 3])
    labels = torch.randn(3, 12, 5).log_softmax(-1)
    assert torch.equal(likely_cells(labels, frames, tokens, margin=5), valid_cells(frames, tokens, 12, 5))


def test_the_band_follows_the_expected_alignment_and_always_holds_a_path() -> None:
    """Tokens 0..5 are said in frames 3, 6, 7, 8, 18 and 18; the band hugs that staircase."""
    when = torch.tensor([3, 6, 7, 8, 18, 18])
    labels = torch.full((1, 20, 6), -20.0)
    labels[0, when, torch.arange(6)] = -0.1
    frames, tokens = torch.tensor([20]), torch.tensor([6])
    cells = likely_cells(labels, frames, tokens, margin=1)[0]
    assert not bool(cells[0, 2:].any())
    assert cells[9].tolist() == [False, False, False, True, True, True, False]
    assert bool(cells[0, 0])
    assert bool(cells[19, 6])
    blanks = torch.zeros(1, 20, 7).masked_fill(~cells, -1e30)
    loss = lattice_loss(blanks, labels.masked_fill(~cells[None, :, :-1], -1e30), frames, tokens)
    torch.testing.assert_close(loss, torch.tensor([0.6]), rtol=0, atol=1e-4)


def test_any_band_of_one_token_holds_a_path() -> None:
    torch.manual_seed(3)
    frames, tokens = torch.randint(1, 30, (200,)), torch.randint(0, 13, (200,))
    labels = (5 * torch.randn(200, 30, 12)).log_softmax(-1)
    cells = likely_cells(labels, frames, tokens, margin=1)
    blanks = torch.zeros(200, 30, 13).masked_fill(~cells, -1e30)
    assert bool(lattice_loss(blanks, labels.masked_fill(~cells[:, :, :-1], -1e30), frames, tokens).isfinite().all())
