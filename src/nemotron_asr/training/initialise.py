"""Starting values of a model that is trained from nothing."""

import torch
from torch import nn

from nemotron_asr.model import NemotronASR

FEATURE_MEAN, FEATURE_SPREAD = -11.4, 3.3
"""Of log-mel values in augmented speech."""


def initialise(model: NemotronASR) -> None:
    """Let a new encoder hear from the first step on.

    With torch's defaults, biases and shrinking weights leave a hundredth of the features' variation in the subsampled
    frames, under a constant ten times as large; training then stands still for thousands of steps. So: variance is kept
    (He et al. 2015), biases are zero, and the first convolution sees features of mean 0 and spread 1.
    """
    subsampling = model.encoder.subsampling
    for module in subsampling.modules():
        if isinstance(module, nn.Conv2d):
            followed_by_relu = module.kernel_size == (1, 1) or module.in_channels == 1
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if followed_by_relu else "linear")
    nn.init.xavier_normal_(subsampling.out.weight)
    for name, parameter in subsampling.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    first = subsampling.conv[0]
    weight, bias = first.get_parameter("weight"), first.get_parameter("bias")
    with torch.no_grad():
        weight.div_(FEATURE_SPREAD)
        bias.sub_(FEATURE_MEAN * weight.sum((1, 2, 3)))
