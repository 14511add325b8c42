"""The transducer loss as one would write it, from all logits and with torch's own gradients."""

from torch import Tensor

from nemotron_asr.training.loss import lattice_loss


def rnnt_loss(
    logits: Tensor, targets: Tensor, frames: Tensor, tokens: Tensor, blank: int, fastemit: float = 0.0
) -> Tensor:
    """`lattice_loss` of joint outputs (B, T, U + 1, V)."""
    return lattice_loss(*arc_log_probs(logits, targets, blank), frames, tokens, fastemit)


def arc_log_probs(logits: Tensor, targets: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of blank (B, T, U + 1) and of the next label (B, T, U)."""
    index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, -1)
    total = logits.logsumexp(-1)
    return logits[..., blank] - total, logits[:, :, :-1].gather(3, index)[..., 0] - total[:, :, :-1]
