"""Eight mel frames in, one encoder frame out: three causal stride-2 convolutions (Rekesh et al. 2023)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.config import SUBSAMPLING, ModelConfig

STAGES = 3


def halved(length: Tensor) -> Tensor:
    """Frames that leave a stride-2 stage when `length` valid ones enter."""
    return length // 2 + 1


def halved_bins(n_mels: int) -> list[int]:
    """Frequency bins at the input of each stage and after the last: 128, 65, 33, 17."""
    bins = [n_mels]
    for _ in range(STAGES):
        bins.append(bins[-1] // 2 + 1)
    return bins


class Subsampling(nn.Module):
    """Convolutions that remember one frame each; what lies before time zero or after the end is zero."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.subsampling_channels
        self.conv = nn.ModuleList(
            nn.Conv2d(inputs, c, 3, stride=2, groups=groups) for inputs, groups in [(1, 1), (c, c), (c, c)]
        )
        self.pointwise = nn.ModuleList(nn.Conv2d(c, c, 1) for _ in range(STAGES - 1))
        self.out = nn.Linear(c * halved_bins(config.n_mels)[-1], config.d_model)

    def forward(self, mel: Tensor, end: Tensor, t: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor], Tensor]:
        """Subsample the mel frames from 8t - 7 on.

        Args:
            mel: (B, 8n, n_mels).
            end: (B,) valid mel frames of the whole utterance.
            t: (B,) time of the first encoder frame.
            past: per stage, the last input frame (B, channels, 1, bins).

        Returns:
            (B, n, d_model) frames, the new past, and (B,) valid encoder frames of the whole utterance.
        """
        x, new_past = mel.unsqueeze(1), []
        first = SUBSAMPLING * t - SUBSAMPLING + 1
        for stage, conv in enumerate(self.conv):
            now = first[:, None] + torch.arange(x.shape[2], device=x.device)
            inside = (now >= 0) & (now < end[:, None])
            x = torch.where(inside[:, None, :, None], x, 0)
            new_past.append(x[:, :, -1:])
            x = conv(F.pad(torch.cat([past[stage], x], dim=2), (2, 1)))
            x = F.relu(self.pointwise[stage - 1](x) if stage else x)
            first, end = (first + 1) // 2, halved(end)
        return self.out(x.transpose(1, 2).flatten(2)), new_past, end
