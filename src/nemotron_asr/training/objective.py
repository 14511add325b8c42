"""From a batch to a loss: the whole model once, forwards."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from nemotron_asr.config import HOP, SUBSAMPLING, ModelConfig
from nemotron_asr.features import LogMel, window_start
from nemotron_asr.model import NemotronASR
from nemotron_asr.model.subsampling import STAGES, halved
from nemotron_asr.training.augment import AugmentConfig, mask_spectrogram, perturb_vocal_tract
from nemotron_asr.training.data import Batch
from nemotron_asr.training.joint import joint_arcs, likely_cells, valid_cells
from nemotron_asr.training.loss import lattice_loss
from nemotron_asr.training.replay import replay
from nemotron_asr.training.spelling import SLOTS, Spelling


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised, and how it is computed."""

    fastemit: float = 5e-3
    prune_below: float = 3.5  # CTC loss per token of a batch under which its transducer lattice is pruned; 0: never
    history_dropout: float = 0.0  # share of tokens that the predictor does not see: it learns few texts by heart
    prune_margin: float = 4.0  # tokens around the alignment that CTC expects
    bfloat16: bool = False  # linear layers of the encoder and the joint in bfloat16
    recompute: bool = False  # encoder blocks keep their inputs alone and are computed again when going back


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
            x, weight, bias = args
            return F.linear(x.bfloat16(), weight.bfloat16(), None if bias is None else bias.bfloat16()).float()
        return func(*args, **(kwargs or {}))


class Objective(nn.Module):
    """The losses of a model on a batch.

    With a `spelling`, CTC over letters is added, by a head that exists in training only: it is the shortest way from a
    loss to the encoder, and letters are heard before pieces of words are, so that the transducer finds its alignment
    sooner. Once the head knows where letters are, the transducer's lattice is computed only around there. A model that
    is trained already needs none of that.
    """

    def __init__(
        self, model: NemotronASR, spelling: Spelling | None, options: ObjectiveConfig, augment: AugmentConfig | None
    ) -> None:
        super().__init__()
        config: ModelConfig = model.config
        self.model, self.features, self.options, self.augment = model, LogMel(config), options, augment
        self.spelling = cast("Spelling", spelling)  # asked only where there is a head
        self.ctc = nn.Linear(config.d_model, SLOTS * spelling.size) if spelling else None
        if options.recompute:
            _recompute(cast("Iterable[nn.Module]", model.encoder.blocks), self.precision)

    def precision(self) -> AbstractContextManager[object]:
        """How the encoder computes."""
        return BFloat16Linears() if self.options.bfloat16 else nullcontext()

    def mel(self, batch: Batch, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Log-mel frames (B, 8T, n_mels), masked when a generator is given, and how many are valid (B,)."""
        start = torch.full_like(batch.lengths, window_start(0))
        mel = self.features(batch.samples, start, batch.lengths)
        frames = batch.lengths // HOP
        if self.augment and generator:
            if self.augment.vocal_tract_probability:  # else no chance is spent, and the masks are those of older runs
                mel = perturb_vocal_tract(mel, self.augment, generator)
            early, heard = mel[:, : SUBSAMPLING - 1], mel[:, SUBSAMPLING - 1 :]  # frames before time zero, and the rest
            mel = torch.cat([early, mask_spectrogram(heard, frames, self.augment, generator)], 1)
        return mel, frames

    def encode(self, mel: Tensor, mel_lengths: Tensor, lookahead: int) -> tuple[Tensor, Tensor]:
        """Encoder frames (B, T, d_model) of whole utterances, and how many are valid (B,)."""
        state = self.model.encoder.initial_state(len(mel), history=0)
        with self.precision():
            frames, _ = self.model.encoder(mel, mel_lengths, state, lookahead + 1)
        return frames, encoder_lengths(mel_lengths)

    def forward(self, batch: Batch, generator: torch.Generator | None = None, *, transducer: bool = True) -> Losses:
        """The losses on one batch.

        Args:
            batch: what to learn from.
            generator: draws the masks over the spectrogram; none, no masks.
            transducer: false leaves its loss out.
        """
        frames, lengths = self.encode(*self.mel(batch, generator), batch.lookahead)
        tokens = batch.token_lengths.sum().clamp(min=1)  # none, where all clips are without words
        cells = valid_cells(lengths, batch.token_lengths, frames.shape[1], batch.tokens.shape[1])
        ctc = frames.new_zeros(())
        if self.ctc is not None:
            log_probs = self.ctc(frames).unflatten(-1, (SLOTS, -1)).log_softmax(-1)
            ctc = self._ctc(log_probs, lengths, batch) / tokens
            if transducer and ctc.item() < self.options.prune_below:
                cells = self._likely(log_probs.detach(), lengths, batch)
        if not transducer:
            return Losses(ctc.new_zeros(()), ctc)
        arcs = self._arcs(frames, cells, batch)
        rnnt = lattice_loss(*arcs, lengths, batch.token_lengths, self.options.fastemit).sum() / tokens
        return Losses(rnnt, ctc)

    def _ctc(self, log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        letters, counts = self.spelling.targets(batch.tokens, batch.token_lengths)
        by_time = log_probs.flatten(1, 2).transpose(0, 1)
        return F.ctc_loss(by_time, letters, SLOTS * lengths, counts, reduction="sum", zero_infinity=True)

    def _likely(self, log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """The cells near the frames in which the first letters of tokens are heard."""
        first = self.spelling.first(batch.tokens)
        heard = log_probs.amax(2).gather(2, first[:, None].expand(-1, log_probs.shape[1], -1))
        labels = heard.masked_fill((first == 0)[:, None], 0.0)
        return likely_cells(labels, lengths, batch.token_lengths, self.options.prune_margin)

    def _forget(self, history: Tensor) -> Tensor:
        """In training, some of the tokens that were said, but none that ends an utterance, replaced by blank."""
        if not (self.training and self.options.history_dropout):
            return history
        forgotten = torch.rand(history.shape, device=history.device) < self.options.history_dropout
        return history.masked_fill(forgotten & ~self.model.transducer.ends(history), self.model.config.blank)

    def _arcs(self, frames: Tensor, cells: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The lattice's log-probabilities; the prompt and the predictor stay in float32, they are cheap."""
        transducer = self.model.transducer
        enc = transducer.project(self.model.prompt(frames, batch.prompts))
        history = self._forget(F.pad(batch.tokens, (1, 0), value=self.model.config.blank))
        pred = replay(transducer, history)
        dtype = torch.bfloat16 if self.options.bfloat16 else enc.dtype
        return joint_arcs(enc, pred, transducer.head, batch.tokens, cells, dtype)


def _recompute(blocks: Iterable[nn.Module], precision: Callable[[], AbstractContextManager[object]]) -> None:
    """Let blocks forget in training what they would need to go back (Chen et al. 2016)."""

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        return nullcontext(), precision()  # forwards, the caller's holds already

    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)


def encoder_lengths(mel_lengths: Tensor) -> Tensor:
    """`encoder_frames` of a tensor of lengths, none of them zero."""
    for _ in range(STAGES):
        mel_lengths = halved(mel_lengths)
    return mel_lengths
