"""A model without weights: its parameters have shapes and no memory."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves out `torch.nn.init`: there is nothing to fill, and on the meta device it imports torch's compiler."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        arguments = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return arguments["tensor"] if "tensor" in arguments else args[0]
        return func(*args, **arguments)


def skeleton(config: ModelConfig) -> NemotronASR:
    """The model on the meta device, ready for `load_state_dict(..., assign=True)`."""
    with torch.device("meta"), _WithoutInitialisation():
        return NemotronASR(config)
