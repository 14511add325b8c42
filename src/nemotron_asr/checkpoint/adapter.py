"""Low-rank adapters (LoRA, Hu et al. 2021) in the layout of the `peft` library, merged into their model when read.

A folder holds `adapter_config.json`, which names the model, and `adapter_model.safetensors`: for a matrix `X.weight`
the factors `X.lora_A.weight` (rank, in) and `X.lora_B.weight` (out, rank).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nemotron_asr.checkpoint.checkpoint import Checkpoint
from nemotron_asr.checkpoint.config_section import ConfigSection
from nemotron_asr.checkpoint.files import json_writer, read_json, reading, text_writer, write_folder
from nemotron_asr.checkpoint.int8 import to_float
from nemotron_asr.errors import CheckpointError

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
MADE_FOR, MADE_FOR_NORMS = "made_for_weights", "made_for"
"""What an adapter says of its model: the fingerprint of all weights, or of the norms alone, as older ones have it."""
MAX_RANK = 4096
PLAIN_FLAGS = ("use_rslora", "use_dora", "fan_in_fan_out")
PLAIN_LISTS = ("alpha_pattern", "rank_pattern", "modules_to_save")
"""Settings of `peft` with which an adapter would mean something else than its factors, rank and alpha."""
A, B = ".lora_A.weight", ".lora_B.weight"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / CONFIG).is_file()


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A name for what a model has learnt: other weights, another name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _fingerprint_of_norms(weights: Mapping[str, Tensor]) -> str:
    """What older adapters know of their model: it does not change where the encoder is frozen, or adapters merged."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        if name.endswith("norm_out.weight"):
            digest.update(weights[name].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_adapter(
    factors: Mapping[str, Tensor], folder: Path, settings: Mapping[str, Any], made_for: str, notes: str
) -> None:
    """Write factors, `peft`'s settings, the model's fingerprint, and what people should know."""
    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in factors.items()}
    files = {
        TENSORS: lambda path: save_file(tensors, path, metadata={"format": "pt", MADE_FOR: made_for}),
        "README.md": text_writer(notes),
        CONFIG: json_writer(dict(settings)),
    }
    write_folder(folder, files)


def read_adapter(folder: Path, load: Callable[[str], Checkpoint]) -> Checkpoint:
    """The model that an adapter was made for, with the adapter in it.

    Args:
        folder: of the adapter.
        load: finds a model by its name.

    Raises:
        CheckpointError: damaged, or not made for that model.
    """
    settings = ConfigSection(read_json(folder / CONFIG), CONFIG)
    rank, alpha = _rank_and_alpha(settings)
    name = settings.get("base_model_name_or_path")
    if not isinstance(name, str) or is_adapter(Path(name)):
        raise CheckpointError(f"{folder}: base_model_name_or_path is {str(name)[:80]!r}; it must name a whole model")
    try:
        base = load(name)
    except CheckpointError as error:
        raise type(error)(f"{folder} is an adapter for another model, which its {CONFIG} names: {error}") from None
    weights = to_float(base.weights)
    factors, metadata = _read(folder / TENSORS)
    if not _belongs(metadata, weights):
        raise CheckpointError(f"{folder} was made for another version of the model {name!r}")
    merged = merge(weights, factors, alpha / rank, str(folder))
    return replace(base, weights=merged, about={**base.about, "fine_tuned_from": name})


def _rank_and_alpha(settings: ConfigSection) -> tuple[int, int]:
    """The numbers that say how much of the factors' product counts, where nothing else says so."""
    settings.require("peft_type", "LORA")
    for name in PLAIN_FLAGS:
        settings.require(name, False, None)
    for name in PLAIN_LISTS:
        settings.require(name, {}, [], None)
    alpha = settings.get("lora_alpha")
    if isinstance(alpha, float) and alpha.is_integer():  # as some write it
        settings = ConfigSection({**settings.values, "lora_alpha": int(alpha)}, settings.where)
    return settings.integer("r", low=1, high=MAX_RANK), settings.integer("lora_alpha", low=1)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with reading(str(path)), safe_open(path, framework="pt") as file:
        names, metadata = list(file.keys()), file.metadata() or {}
        return {name.removeprefix(PREFIX): file.get_tensor(name) for name in names}, metadata


def _belongs(metadata: Mapping[str, str], weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights that an adapter was made for, as far as it knows them."""
    for key, name_of in {MADE_FOR: fingerprint, MADE_FOR_NORMS: _fingerprint_of_norms}.items():
        if key in metadata:
            return metadata[key] == name_of(weights)
    return True


def merge(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], scale: float, where: str) -> dict[str, Tensor]:
    """Every matrix W plus scale * B A, in float32.

    Raises:
        CheckpointError: factors without a matrix, or of a shape that does not fit it.
    """
    merged = dict(weights)
    stems = {name.removesuffix(A).removesuffix(B) for name in adapter}
    for stem in sorted(stems):
        weight, a, b = weights.get(f"{stem}.weight"), adapter.get(stem + A), adapter.get(stem + B)
        if weight is None or a is None or b is None or a.dim() != 2 or b.dim() != 2:
            raise CheckpointError(f"{where}: {stem[:80]!r} is not a matrix of the model with two factors")
        if (b.shape[0], a.shape[1]) != tuple(weight.shape) or a.shape[0] != b.shape[1]:
            raise CheckpointError(f"{where}: the factors of {stem!r} do not fit its shape {list(weight.shape)}")
        merged[f"{stem}.weight"] = torch.addmm(weight.float(), b.float(), a.float(), alpha=scale)
    return merged
