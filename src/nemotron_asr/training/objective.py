"""From a batch to a loss: the whole model once, forwards."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nemotron_asr.config import HOP, ModelConfig
from nemotron_asr.features import LogMel, window_start
from nemotron_asr.model import NemotronASR
from nemotron_asr.model.subsampling import STAGES, halved
from nemotron_asr.training.augment import AugmentConfig, mask_spectrogram
from nemotron_asr.training.data import Batch
from nemotron_asr.training.joint import joint_arcs, likely_cells, valid_cells
from nemotron_asr.training.loss import lattice_loss


@dataclass(frozen=True)
class Losses:
    """Negative log-probabilities per token, means over the batch."""

    rnnt: Tensor
    ctc: Tensor


class BFloat16Linears(TorchFunctionMode):
    """Computes linear layers in bfloat16 and everything else as it is.

    Autocast would do the convolutions in bfloat16 as well, whose backward pass on a CPU is five times slower.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called for every function of torch."""
        if func is F.linear:
            return func(*(x if x is None else x.bfloat16() for x in args)).float()
        return func(*args, **(kwargs or {}))


class Objective(nn.Module):
    """The losses of a model on a batch. Its `ctc` head exists in training only.

    CTC on the encoder's output (the shortest way from the loss to the encoder) makes the transducer find its alignment
    several times sooner.
    """

    def __init__(self, model: NemotronASR, augment: AugmentConfig | None, *, fastemit: float, bfloat16: bool) -> None:
        super().__init__()
        config: ModelConfig = model.config
        self.model, self.features, self.augment = model, LogMel(config), augment
        self.ctc = nn.Linear(config.d_model, config.vocab_size + 1)
        self.fastemit, self.bfloat16 = fastemit, bfloat16

    def mel(self, batch: Batch, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Log-mel frames (B, 8T, n_mels), masked when a generator is given, and how many are valid (B,)."""
        start = torch.full_like(batch.lengths, window_start(0))
        mel = self.features(batch.samples, start, batch.lengths)
        frames = batch.lengths // HOP
        if self.augment and generator:
            mel = mask_spectrogram(mel, frames, self.augment, generator)
        return mel, frames

    def encode(self, mel: Tensor, mel_lengths: Tensor, lookahead: int) -> tuple[Tensor, Tensor]:
        """Encoder frames (B, T, d_model) of whole utterances, and how many are valid (B,)."""
        state = self.model.encoder.initial_state(len(mel), history=0)
        with BFloat16Linears() if self.bfloat16 else nullcontext():
            frames, _ = self.model.encoder(mel, mel_lengths, state, lookahead + 1)
        return frames, encoder_lengths(mel_lengths)

    def forward(self, batch: Batch, generator: torch.Generator | None = None, margin: float | None = None) -> Losses:
        """The losses on one batch.

        Args:
            batch: what to learn from.
            generator: draws the masks over the spectrogram; none, no masks.
            margin: compute the transducer's lattice only this many tokens around the CTC head's alignment.
        """
        mel, mel_lengths = self.mel(batch, generator)
        frames, lengths = self.encode(mel, mel_lengths, batch.lookahead)
        log_probs = self.ctc(frames).log_softmax(-1)
        cells = self._cells(log_probs.detach(), lengths, batch, margin)
        rnnt = lattice_loss(*self._arcs(frames, cells, batch), lengths, batch.token_lengths, self.fastemit)
        ctc = F.ctc_loss(
            log_probs.transpose(0, 1), batch.tokens, lengths, batch.token_lengths, self.model.config.blank,
            reduction="sum", zero_infinity=True,
        )  # fmt: skip
        tokens = batch.token_lengths.sum()
        return Losses(rnnt.sum() / tokens, ctc / tokens)

    def _cells(self, log_probs: Tensor, lengths: Tensor, batch: Batch, margin: float | None) -> Tensor:
        if margin is None:
            return valid_cells(lengths, batch.token_lengths, log_probs.shape[1], batch.tokens.shape[1])
        labels = log_probs.gather(2, batch.tokens[:, None].expand(-1, log_probs.shape[1], -1))
        return likely_cells(labels, lengths, batch.token_lengths, margin)

    def _arcs(self, frames: Tensor, cells: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The lattice's log-probabilities; the prompt and the predictor stay in float32, they are cheap."""
        transducer = self.model.transducer
        enc = transducer.project(self.model.prompt(frames, batch.prompts))
        history = F.pad(batch.tokens, (1, 0), value=self.model.config.blank)
        pred, _ = transducer.predict(history, transducer.initial_state(len(history)))
        dtype = torch.bfloat16 if self.bfloat16 else enc.dtype
        return joint_arcs(enc, pred, transducer.head, batch.tokens, cells, dtype)


def encoder_lengths(mel_lengths: Tensor) -> Tensor:
    """`encoder_frames` of a tensor of lengths, none of them zero."""
    for _ in range(STAGES):
        mel_lengths = halved(mel_lengths)
    return mel_lengths
