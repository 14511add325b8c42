"""A checkpoint of the released model's size and layout, with random weights."""

import json
from math import prod
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from nemotron_asr.benchmark.pair import theirs_config
from nemotron_asr.checkpoint.names import Format, slots
from nemotron_asr.config import ModelConfig

DTYPES = {"float32": (torch.float32, "F32"), "bfloat16": (torch.bfloat16, "BF16")}


def write_checkpoint(folder: Path, dtype: str) -> int:
    """Write a folder as transformers does; the weights' size in bytes."""
    config = ModelConfig()
    folder.mkdir()
    theirs_config(config).save_pretrained(folder)
    pieces = [("<unk>", 0.0), *((f"▁{i}", -1.0) for i in range(1, config.vocab_size))]
    Tokenizer(Unigram(pieces, unk_id=0)).save(str(folder / "tokenizer.json"))
    shapes = {name: slot.shape for name, slot in slots(config, Format.HUGGING_FACE).items()}
    path = folder / "model.safetensors"
    _write_random(path, shapes, dtype)
    return path.stat().st_size


def _write_random(path: Path, shapes: dict[str, torch.Size], dtype: str) -> None:
    """Write safetensors one by one; the library's own writer wants all of them at once."""
    kind, name_of_kind = DTYPES[dtype]
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * kind.itemsize
        header[name] = {"dtype": name_of_kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            tensor = torch.randn(shape, generator=generator) * shape[-1] ** -0.5
            file.write(tensor.to(kind).flatten().view(torch.uint8).numpy().data)
