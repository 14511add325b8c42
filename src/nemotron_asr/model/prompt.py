"""The language prompt: conditions encoder frames on the language that was asked for."""

import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.config import ModelConfig


class Prompt(nn.Module):
    """Fuse a language into frames.

    In the checkpoints a one-hot of the language is concatenated to every frame; a matrix times a one-hot is one of its
    columns, so the language is exactly a bias. It acts after the encoder: the encoder's state does not depend on it.
    Its weights stay in float32 when the rest of the model is in bfloat16, for the languages are told apart by small
    biases; in int8, whose scales are each row's own, the biases alone do.
    A model without prompts passes frames through.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.prompted = config.n_prompts > 0
        if self.prompted:
            self.frame = nn.Linear(config.d_model, config.d_prompt)
            self.language = nn.Embedding(config.n_prompts, config.d_prompt)
            self.out = nn.Linear(config.d_prompt, config.d_model)

    def forward(self, frames: Tensor, language: Tensor) -> Tensor:
        """(B, T, d_model) frames and (B,) prompt ids -> (B, T, d_model)."""
        if not self.prompted:
            return frames
        hidden = self.frame(frames.to(self.language.weight.dtype)) + self.language(language)[:, None]
        fused: Tensor = self.out(F.relu(hidden))
        return fused.to(frames.dtype)
