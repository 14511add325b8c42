"""From weights at rest to weights in use."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from nemotron_asr.checkpoint.mapping import release
from nemotron_asr.model import NemotronASR


def place_weights(
    model: NemotronASR,
    weights: Mapping[str, Tensor],
    device: torch.device,
    dtype: torch.dtype,
    untouched: re.Pattern[str] | None = None,
) -> None:
    """Give a skeleton its weights, each on its device and in its dtype.

    Weights that are so already are not copied: they stay memory-mapped. Others are converted one at a time, and what
    is memory-mapped of each is given back before the next: the file and the model are never both in memory.
    The prompt stays in float32 at least, see `Prompt`. Weights whose names match `untouched` stay as they are stored.
    """
    model.load_state_dict(weights, assign=True)
    for name, parameter in model.named_parameters():
        if untouched is not None and untouched.fullmatch(name):
            continue
        stored = parameter.data
        wanted = torch.promote_types(dtype, torch.float32) if name.startswith("prompt.") else dtype
        parameter.data = stored.to(device, wanted)
        if parameter.data_ptr() != stored.data_ptr():
            release(stored)
    model.transducer.lstm.flatten_parameters()  # cuDNN wants them in one block
