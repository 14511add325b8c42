"""Our own layout: a folder with a flat `config.json`, our parameter names, and the tokenizer."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from nemotron_asr.checkpoint.checkpoint import Checkpoint
from nemotron_asr.checkpoint.config_section import MEL_DTYPES, ConfigSection
from nemotron_asr.checkpoint.files import (
    json_writer,
    read_bytes,
    read_json,
    read_safetensors,
    safetensors_writer,
    text_writer,
    write_folder,
)
from nemotron_asr.checkpoint.names import Format, pack, unpack
from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import ConfigError
from nemotron_asr.languages import prompt_table
from nemotron_asr.tokenizer import Tokenizer

FORMAT = "nemotron-asr"
_FRONT_END = "front_end."
_LIMITS = {"n_layers": 1024, "pred_layers": 64}


def read_native(folder: Path) -> Checkpoint:
    """Read a folder; the weights stay memory-mapped.

    Raises:
        CheckpointError: files are missing, damaged or inconsistent.
        ConfigError: a setting that this version does not know.
    """
    settings = ConfigSection(read_json(folder / "config.json"), "config.json")
    settings.require("format", FORMAT)
    settings.require("version", 1)
    config = _config(settings.section("model"))
    tensors = read_safetensors(folder)
    front_end = {name.removeprefix(_FRONT_END): tensors.pop(name) for name in [*tensors] if name.startswith(_FRONT_END)}
    tokenizer = Tokenizer.from_json(read_bytes(folder / "tokenizer.json"))
    about = dict(settings.section("about", {}).values)
    return Checkpoint(config, tokenizer, unpack(tensors, config, Format.NATIVE), front_end, about)


def _config(settings: ConfigSection) -> ModelConfig:
    known = {field.name: field.type for field in fields(ModelConfig)}
    unknown = [key for key in settings.values if key not in known]
    if unknown:
        raise ConfigError(f"{settings.where}: {unknown[0]!r} is unknown to this version; it knows {', '.join(known)}")
    values = {key: _value(settings, key, known[key]) for key in known if key in settings.values}
    return ModelConfig(**values)


def _value(settings: ConfigSection, key: str, kind: object) -> Any:
    if kind is int:
        return settings.integer(key, high=_LIMITS.get(key, 2**20))
    if kind is float:
        return settings.fraction(key)
    if kind is bool:
        return settings.flag(key)
    if key in {"lookaheads", "final_tokens"}:
        return tuple(settings.integers(key))
    if key == "prompts":
        return prompt_table(settings.section(key).values)
    return settings.choice(key, *MEL_DTYPES, default="float32")  # the only field left


def write_native(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a folder.

    Raises:
        CheckpointError: the weights are not those of the configuration.
    """
    tensors = pack(checkpoint.weights, checkpoint.config, Format.NATIVE)
    tensors |= {_FRONT_END + name: tensor for name, tensor in checkpoint.front_end.items()}
    model = {field.name: getattr(checkpoint.config, field.name) for field in fields(ModelConfig)}
    model["prompts"] = dict(checkpoint.config.prompts)
    if not checkpoint.config.final_tokens:
        del model["final_tokens"]
    document = {"format": FORMAT, "version": 1, "model": model, "about": checkpoint.about}
    files = {
        "model.safetensors": safetensors_writer(tensors),
        "tokenizer.json": text_writer(checkpoint.tokenizer.to_json()),
        "config.json": json_writer(document),
    }
    write_folder(folder, files)
