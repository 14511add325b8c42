"""What of a model is trained: all of it, all but the encoder, or low-rank adapters beside its matrices (LoRA)."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint import Checkpoint, to_float
from nemotron_asr.checkpoint.adapter import fingerprint, merge, write_adapter
from nemotron_asr.checkpoint.sources import place
from nemotron_asr.errors import needs_extra
from nemotron_asr.model import NemotronASR

TARGETS = (
    r"encoder\.blocks\.\d+\.(attention\.(q|k|v|out)|ff[12]\.(up|down)|conv\.(expand|reduce))"
    r"|prompt\.(frame|out)|transducer\.(enc|pred)"
)
"""The matrices that get an adapter: all linears but the largest, which is the joint's output."""

ALPHA = 2
"""The product of an adapter's factors counts so many times: `lora_alpha` is this times the rank."""


def add_adapters(model: NemotronASR, rank: int) -> None:
    """Freeze a model and put adapters of a rank beside its matrices; they change nothing yet.

    Raises:
        MissingExtraError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise needs_extra("LoRA", "train") from None
    model.requires_grad_(requires_grad=False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=ALPHA * rank, target_modules=TARGETS), model)


def narrow_frozen(model: NemotronASR) -> None:
    """Keep the frozen matrices of the encoder's blocks in bfloat16, in which they are multiplied anyway."""
    for module in model.encoder.blocks.modules():
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            module.to(torch.bfloat16)


def save_adapter(weights: Mapping[str, Tensor], folder: Path, base: str, checkpoint: Checkpoint, notes: str) -> None:
    """Write trained adapters as a folder that `load` takes.

    Args:
        weights: as training names them.
        folder: where to.
        base: the model they were made for, as `load` takes it.
        checkpoint: that model.
        notes: the model card.
    """
    factors = plain_names(weights)
    rank = next(value.shape[0] for name, value in factors.items() if name.endswith("lora_A.weight"))
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(path.resolve()) if (path := place(base)) else base,
        "r": rank,
        "lora_alpha": ALPHA * rank,
        "target_modules": TARGETS,
        "bias": "none",
    }
    write_adapter(factors, folder, settings, fingerprint(to_float(checkpoint.weights)), notes)


def plain_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the name that `peft` gives an adapter inside a model."""
    return {re.sub(r"(lora_[AB])\.default\.", r"\1.", name): value for name, value in weights.items()}


def merged_weights(weights: Mapping[str, Tensor], checkpoint: Checkpoint) -> dict[str, Tensor]:
    """All weights of the model that came, with what was trained: adapters are merged, other tensors replaced."""
    named = plain_names(weights)
    factors = {name: value for name, value in named.items() if ".lora_" in name}
    whole = {name: value for name, value in named.items() if name not in factors}
    return merge(to_float(checkpoint.weights), factors, ALPHA, "training") | whole
