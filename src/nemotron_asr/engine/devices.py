"""Where a model computes, and with which precision."""

import re

import torch

from nemotron_asr.config import ModelConfig
from nemotron_asr.engine.packed.machine import multiplies_bytes
from nemotron_asr.errors import OptionError

DTYPES = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8, "float8": torch.float8_e4m3fn,
}  # fmt: skip

_OFFERED = {"cpu": "auto, float32, bfloat16 or int8", "cuda": "auto, float32, bfloat16 or float8"}

LARGE = 512
"""Width of an encoder from which on int8 is worth its while."""


def choose_device(name: str) -> torch.device:
    """The torch device of an option's value."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(name, str) or not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
        raise OptionError(f"device {name!r} is unknown; choose auto, cpu, cuda, cuda:N or mps")
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {name!r} is not there: this machine has {torch.cuda.device_count()} CUDA devices")
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("device 'mps' is not there: this machine has no Apple GPU that torch can use")
    return device


def choose_dtype(name: str, device: torch.device, config: ModelConfig) -> torch.dtype:
    """The torch dtype of an option's value."""
    if name == "auto":
        on_cpu = torch.int8 if config.d_model >= LARGE and multiplies_bytes() else torch.float32
        return {"cpu": on_cpu, "cuda": torch.bfloat16}.get(device.type, torch.float32)
    if not isinstance(name, str) or name not in DTYPES:
        raise OptionError(f"dtype {name!r} is not offered; choose auto, {', '.join(DTYPES)}")
    offered = _OFFERED.get(device.type, "auto, float32 or bfloat16")
    if name == "int8" and device.type != "cpu":
        raise OptionError(f"dtype 'int8' is for the CPU, not for {device}; choose {offered}")
    if name == "float8" and device.type != "cuda":
        raise OptionError(f"dtype 'float8' is for NVIDIA's GPUs, not for {device}; choose {offered}")
    if name == "float8" and (config.d_model % 16 or config.d_ff % 16):
        raise OptionError(
            "dtype 'float8' is for models whose widths are multiples of 16; choose auto, float32 or bfloat16"
        )
    return DTYPES[name]
