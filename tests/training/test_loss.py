"""The transducer loss against a sum over every alignment, written out."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from nemotron_asr.training.loss import lattice_loss
from tests.training.plain import arc_log_probs, rnnt_loss

BLANK = 4


def brute_force(logits: Tensor, targets: Tensor, frames: int, tokens: int) -> Tensor:
    """-log of the sum over all orders of `frames` blanks and `tokens` labels that end in a blank."""
    log_probs = logits.log_softmax(-1)
    paths = []
    for places in itertools.combinations(range(frames + tokens - 1), tokens):
        t = u = 0
        score = logits.new_zeros(())
        for i in range(frames + tokens):
            if i in places:
                score = score + log_probs[t, u, targets[u]]
                u += 1
            else:
                score = score + log_probs[t, u, BLANK]
                t += 1
        paths.append(score)
    return -torch.logsumexp(torch.stack(paths), 0)


@pytest.fixture
def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(6, 5, 4, BLANK + 1, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, BLANK, (6, 3))
    return logits, targets, torch.tensor([5, 1, 1, 4, 2, 5]), torch.tensor([3, 0, 3, 2, 0, 1])


def test_equals_the_sum_over_all_alignments_with_its_gradient(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    logits, targets, frames, tokens = case
    losses = rnnt_loss(logits, targets, frames, tokens, BLANK)
    expected = torch.stack(
        [brute_force(logits[i], targets[i], int(frames[i]), int(tokens[i])) for i in range(len(logits))]
    )
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    (ours,) = torch.autograd.grad((losses * weights).sum(), logits)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def test_gradcheck(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    logits, targets, frames, tokens = case
    assert torch.autograd.gradcheck(lambda x: rnnt_loss(x, targets, frames, tokens, BLANK), (logits,))


def test_fastemit_scales_the_gradient_of_labels_alone(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    logits, targets, frames, tokens = case
    blanks, labels = (x.detach().requires_grad_() for x in arc_log_probs(logits, targets, BLANK))
    arcs = (blanks, labels)
    plain = lattice_loss(blanks, labels, frames, tokens, 0.0)
    fast = lattice_loss(blanks, labels, frames, tokens, 0.25)
    blank, label = torch.autograd.grad(plain.sum(), arcs)
    fast_blank, fast_label = torch.autograd.grad(fast.sum(), arcs)
    torch.testing.assert_close(fast, plain, rtol=0, atol=0)
    torch.testing.assert_close(fast_blank, blank, rtol=0, atol=0)
    torch.testing.assert_close(fast_label, 1.25 * label)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(1, 4, 3, BLANK + 1), torch.tensor([[0, 3]])
    bare = rnnt_loss(logits, targets, torch.tensor([4]), torch.tensor([2]), BLANK)
    padded = torch.full((1, 9, 8, BLANK + 1), 37.0)
    padded[:, :4, :3] = logits
    padded.requires_grad_()
    loss = rnnt_loss(padded, torch.tensor([[0, 3, 0, 0, 0, 0, 0]]), torch.tensor([4]), torch.tensor([2]), BLANK)
    torch.testing.assert_close(loss, bare)
    (grad,) = torch.autograd.grad(loss.sum(), padded)
    assert grad[:, 4:].abs().sum() == 0
    assert grad[:, :, 3:].abs().sum() == 0


def test_a_long_lattice_stays_exact_in_float32() -> None:
    torch.manual_seed(3)
    logits = torch.randn(1, 400, 121, BLANK + 1, dtype=torch.float64)
    args = (torch.randint(0, BLANK, (1, 120)), torch.tensor([400]), torch.tensor([120]), BLANK)
    torch.testing.assert_close(
        rnnt_loss(logits.float(), *args).double(), rnnt_loss(logits, *args), rtol=1e-5, atol=1e-3
    )


def test_what_cannot_happen_costs_infinity_and_pulls_at_nothing() -> None:
    logits = torch.zeros(2, 3, 2, BLANK + 1)
    logits[0, :, :, 1] = -math.inf  # the only label of utterance 0 has probability zero everywhere
    logits.requires_grad_()
    losses = rnnt_loss(logits, torch.tensor([[1], [1]]), torch.tensor([3, 3]), torch.tensor([1, 1]), BLANK)
    assert losses[0] == math.inf
    assert losses[1].isfinite()
    (grad,) = torch.autograd.grad(losses.sum(), logits)
    assert grad.isfinite().all()
    assert grad[0].abs().sum() == 0
    assert grad[1].abs().sum() > 0


def test_what_is_no_number_gives_none() -> None:
    logits = torch.zeros(2, 3, 2, BLANK + 1)
    logits[0, 1, 0, 2] = math.nan
    logits.requires_grad_()
    losses = rnnt_loss(logits, torch.tensor([[1], [1]]), torch.tensor([3, 3]), torch.tensor([1, 1]), BLANK)
    assert losses.isfinite().tolist() == [False, True]
    assert losses[0].isnan()
    (grad,) = torch.autograd.grad(losses.sum(), logits)
    assert grad[0].isnan().any()
    assert grad[1].isfinite().all()


@pytest.mark.parametrize(("frames", "tokens"), [(0, 1), (4, 1), (3, 2), (3, -1)])
def test_lengths_outside_the_tensor_are_named(frames: int, tokens: int) -> None:
    with pytest.raises(ValueError, match="lengths"):
        rnnt_loss(
            torch.zeros(1, 3, 2, 5),
            torch.zeros(1, 1, dtype=torch.long),
            torch.tensor([frames]),
            torch.tensor([tokens]),
            4,
        )
