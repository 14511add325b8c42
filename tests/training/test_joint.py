"""The joint without its big tensor against the joint with it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nemotron_asr.training import joint
from nemotron_asr.training.joint import joint_arcs, likely_cells, valid_cells
from nemotron_asr.training.loss import lattice_loss
from tests.training.plain import rnnt_loss


class Case(NamedTuple):
    """What a joint hears, and of how much of it there is an utterance."""

    enc: Tensor
    pred: Tensor
    head: nn.Linear
    targets: Tensor
    frames: Tensor
    tokens: Tensor

    @property
    def leaves(self) -> list[Tensor]:
        return [self.enc, self.pred, self.head.weight, self.head.bias]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any shapes, lengths and levels, in float32."""
    batch, t, u, width, vocab = (draw(st.integers(1, most)) for most in (3, 12, 8, 9, 20))
    torch.manual_seed(draw(st.integers(0, 1000)))
    level = draw(st.sampled_from([0.1, 1.0, 4.0]))
    enc = (level * torch.randn(batch, t, width)).requires_grad_()
    pred = (level * torch.randn(batch, u + 1, width)).requires_grad_()
    lengths = torch.randint(1, t + 1, (batch,)), torch.randint(0, u + 1, (batch,))
    return Case(enc, pred, nn.Linear(width, vocab + 1), torch.randint(0, vocab, (batch, u)), *lengths)


def tiled(case: Case, fastemit: float = 0.1) -> Tensor:
    cells = valid_cells(case.frames, case.tokens, case.enc.shape[1], case.targets.shape[1])
    arcs = joint_arcs(case.enc, case.pred, case.head, case.targets, cells)
    return lattice_loss(*arcs, case.frames, case.tokens, fastemit)


def plain(case: Case, fastemit: float = 0.1) -> Tensor:
    logits = case.head(torch.relu(case.enc[:, :, None] + case.pred[:, None]))
    blank = case.head.out_features - 1
    return rnnt_loss(logits, case.targets, case.frames, case.tokens, blank, fastemit)


def gradients(case: Case, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss.sum(), case.leaves)


@settings(max_examples=150, deadline=None)
@given(case=cases(), block=st.sampled_from([1, 7, 64]))
def test_loss_and_gradients_equal_those_of_the_whole_joint(case: Case, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint, "CPU_CELLS", block)
        ours, theirs = tiled(case), plain(case)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        for our, their in zip(gradients(case, ours), gradients(case, theirs), strict=True):
            largest = max(1.0, float(their.abs().max()))  # sums of large terms may be small
            torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-5 * largest)


@pytest.fixture
def case() -> Case:
    torch.manual_seed(0)
    enc, pred = torch.randn(3, 30, 16, requires_grad=True), torch.randn(3, 13, 16, requires_grad=True)
    return Case(
        enc, pred, nn.Linear(16, 41), torch.randint(0, 40, (3, 12)), torch.tensor([30, 1, 14]), torch.tensor([12, 0, 9])
    )


def test_no_tensor_is_as_large_as_the_logits(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "CPU_CELLS", 8)
    largest = make_largest()
    with largest:
        tiled(case).sum().backward()
    assert largest.elements < 3 * 30 * 13 * 16


class Largest(TorchDispatchMode):
    """The largest result of any operation, forwards and backwards."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(x.numel() for x in tree_leaves(result) if isinstance(x, Tensor))])
        return result


make_largest = cast("Callable[[], Largest]", Largest)  # torch does not say what its constructor takes


def test_cells_without_weight_are_left_out_of_the_gradient(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is sure of one alignment: what lies elsewhere is not computed, and not missed."""
    enc, pred = ((scale * x.detach().double()).requires_grad_() for x, scale in ((case.enc, 30), (case.pred, 1)))
    case = case._replace(enc=enc, pred=pred, head=case.head.double())
    plain_gradients = gradients(case, plain(case))
    count, product = 0, F.linear

    def counted(x: Tensor, *rest: Any) -> Tensor:
        nonlocal count
        count += len(x)
        return product(x, *rest)

    monkeypatch.setattr(joint, "CPU_CELLS", 1)
    monkeypatch.setattr(F, "linear", counted)
    torch.testing.assert_close(gradients(case, tiled(case)), plain_gradients, rtol=1e-7, atol=1e-7)
    cells = int(valid_cells(case.frames, case.tokens, 30, 12).sum())
    assert cells < count < 1.7 * cells


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_felt(case: Case, value: float) -> None:
    with torch.no_grad():
        case.enc[0, 3, 2] = value
    losses = tiled(case)
    assert losses[0].isnan()
    assert all(not gradient.isfinite().all() for gradient in gradients(case, losses))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_head_that_is_not_trained_gets_no_gradient(case: Case, frozen: bool) -> None:
    case.head.requires_grad_(not frozen)
    tiled(case).sum().backward()
    assert (case.head.weight.grad is None) == frozen
    expected = torch.autograd.grad(plain(case).sum(), [case.enc, case.pred])
    torch.testing.assert_close((case.enc.grad, case.pred.grad), expected, rtol=1e-5, atol=1e-5)


def test_autocast_decides_the_products_and_nothing_else(case: Case) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        losses = tiled(case)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, plain(case), rtol=2e-2, atol=0.1)
    ours, theirs = gradients(case, losses), gradients(case, plain(case))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


class Lone(nn.Module):
    """A head as a module of its own, for DDP."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def forward(self, case: Case) -> Tensor:
        return tiled(case._replace(head=self.head)).sum()


def test_works_inside_distributed_data_parallel(case: Case, tmp_path: Path) -> None:
    expected = gradients(case, plain(case))[2:]
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        nn.parallel.DistributedDataParallel(Lone(case.head))(case).backward()
    finally:
        dist.destroy_process_group()
    torch.testing.assert_close((case.head.weight.grad, case.head.bias.grad), expected, rtol=1e-5, atol=1e-5)


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
