"""The RNN transducer (Graves 2012): a predictor over the tokens said so far, and a joint over both."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.config import ModelConfig


@dataclass
class PredictorState:
    """The LSTM's memory; axis 0 is the batch."""

    h: Tensor  # (B, layers, d_pred)
    c: Tensor  # (B, layers, d_pred)


class Transducer(nn.Module):
    """Predictor and joint. The loops over them live in `decoding` and `training`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size + 1, config.d_pred, padding_idx=config.blank)
        self.lstm = nn.LSTM(config.d_pred, config.d_pred, config.pred_layers, batch_first=True)
        self.pred = nn.Linear(config.d_pred, config.d_joint)
        self.enc = nn.Linear(config.d_model, config.d_joint)
        self.head = nn.Linear(config.d_joint, config.vocab_size + 1)

    def initial_state(self, batch: int) -> PredictorState:
        """The memory before the first token."""
        like = self.head.bias
        zeros = torch.zeros(batch, self.config.pred_layers, self.config.d_pred, device=like.device, dtype=like.dtype)
        return PredictorState(zeros, zeros)

    def predict(self, tokens: Tensor, state: PredictorState) -> tuple[Tensor, PredictorState]:
        """(B, U) tokens after `state` -> (B, U, d_joint) projected predictions and the new memory.

        A new utterance starts with blank, whose embedding is zero. After a final token the memory is reset, but only
        where tokens are given one at a time (U = 1); for whole texts there is `training.replay`.
        """
        memory = (state.h.transpose(0, 1).contiguous(), state.c.transpose(0, 1).contiguous())
        y, (h, c) = self.lstm(self.embed(tokens), memory)
        out, after = self.pred(y), PredictorState(h.transpose(0, 1), c.transpose(0, 1))
        if self.config.final_tokens and tokens.shape[1] == 1:
            self._start_anew(tokens[:, 0], out, after)
        return out, after

    def _start_anew(self, tokens: Tensor, out: Tensor, after: PredictorState) -> None:
        """Behind a final token (B,) the predictor knows nothing, as at the start of an utterance; changes in place."""
        ended = self.ends(tokens)
        if ended.any():
            blank = tokens.new_full((1, 1), self.config.blank)
            fresh, memory = self.predict(blank, self.initial_state(1))
            out[ended], after.h[ended], after.c[ended] = fresh, memory.h, memory.c

    def ends(self, tokens: Tensor) -> Tensor:
        """Which of the tokens, of any shape, end an utterance."""
        return torch.isin(tokens, torch.tensor(self.config.final_tokens, device=tokens.device))

    def project(self, frames: Tensor) -> Tensor:
        """(..., d_model) encoder frames -> (..., d_joint)."""
        projected: Tensor = self.enc(frames)
        return projected

    def joint(self, enc: Tensor, pred: Tensor) -> Tensor:
        """Projected frames and predictions, broadcast against each other -> (..., vocab_size + 1) logits."""
        logits: Tensor = self.head(F.relu(enc + pred))
        return logits
