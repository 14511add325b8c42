"""From the name of a model to the model, and back to a file."""

import os
import re
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from nemotron_asr.checkpoint.adapter import is_adapter, read_adapter
from nemotron_asr.checkpoint.checkpoint import Checkpoint
from nemotron_asr.checkpoint.files import read_json
from nemotron_asr.checkpoint.huggingface import FILES, read_huggingface, write_huggingface
from nemotron_asr.checkpoint.int8 import to_float, to_int8
from nemotron_asr.checkpoint.native import FORMAT, read_native, write_native
from nemotron_asr.checkpoint.nemo import read_nemo, write_nemo
from nemotron_asr.errors import CheckpointError, OptionError, one_line

EMBEDDED = {"tiny": Path(__file__).parents[1] / "models" / "tiny"}
SHORT_NAMES = {
    "nemotron-3.5": "nvidia/nemotron-3.5-asr-streaming-0.6b",
    "nemotron-en": "nvidia/nemotron-speech-streaming-en-0.6b",
}

_CHOICES = f"{', '.join([*EMBEDDED, *SHORT_NAMES])}, a Hugging Face name (owner/name), a folder or a .nemo file"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def load_checkpoint(source: str | os.PathLike[str]) -> Checkpoint:
    """Load a model from wherever it is.

    Args:
        source: "tiny" (embedded), "nemotron-3.5" or "nemotron-en", a Hugging Face name, a folder in Hugging Face's
            layout or ours, or a `.nemo` file.

    Raises:
        CheckpointError: it is not there, cannot be fetched, or is damaged, foreign or inconsistent.
        ConfigError: it needs something that is not implemented.
        OptionError: the source is no text and no path.
    """
    if not isinstance(source, str | os.PathLike):
        raise OptionError(f"model is {source!r}, not a name or a path"[:200])
    checkpoint = _load(os.fspath(source))
    _check_numbers(checkpoint)
    return checkpoint


def _check_numbers(checkpoint: Checkpoint) -> None:
    """Look for NaN and infinity, with which a model says nothing, and nothing of why.

    Only in tensors of one dimension, biases, norms and the scales of int8 matrices, of which a damaged model has some:
    looking at all of them would read the whole file now, which is mapped so that it need not be.
    """
    for name, tensor in checkpoint.weights.items():
        if tensor.dim() == 1 and not tensor.isfinite().all():
            raise CheckpointError(f"the model's weights are damaged: {name} has numbers that are not finite")


def _load(name: str) -> Checkpoint:
    if name in EMBEDDED:
        return _load_folder(EMBEDDED[name])
    if name in SHORT_NAMES:
        return _load_folder(_download(SHORT_NAMES[name]))
    if os.path.isdir(name):  # noqa: PTH112 - unlike Path's, it takes any name without an error
        return _load_folder(Path(name))
    if os.path.isfile(name):  # noqa: PTH113 - likewise
        return _load_file(Path(name))
    if not _HUB_NAME.fullmatch(name):
        raise CheckpointError(f"there is no model {name[:80]!r}; choose {_CHOICES}")
    return _load_folder(_download(name))


def _load_folder(folder: Path) -> Checkpoint:
    if is_adapter(folder):
        return read_adapter(folder, load_checkpoint)
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{folder} is not a model: it has no config.json")
    is_native = read_json(config).get("format") == FORMAT
    return read_native(folder) if is_native else read_huggingface(folder)


def _load_file(path: Path) -> Checkpoint:
    if path.suffix in {".safetensors", ".json"}:
        raise CheckpointError(f"{path} is a part of a model; give its folder, {path.parent}")
    return read_nemo(path)


def place(model: str | os.PathLike[str]) -> Path | None:
    """Where a model lies that is loaded from a path; a folder may be called as one that is known by name."""
    path = Path(model)
    return path if model not in {*EMBEDDED, *SHORT_NAMES} and path.exists() else None


def _download(name: str) -> Path:
    """The local copy of a Hugging Face repository, fetched when it is not in the cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"there is no folder {name}, nor is that model on this machine, and Hugging Face cannot be reached; "
            f"run `hf download {name} --local-dir {name.partition('/')[2]}` where it can, copy that folder here and "
            f"give its path"
        ) from None
    except (OSError, ValueError) as error:
        message = f"there is no folder {name}, nor can Hugging Face be asked for it: {one_line(error)}"
        raise CheckpointError(message) from None
    except Exception as error:  # noqa: BLE001 - of the library for HTTP, which is another one in each version
        reason = one_line(error) or type(error).__name__
        message = f"{name} was not fetched from Hugging Face to its end: {reason}; what has come is kept, so try again"
        raise CheckpointError(message) from None


def save_checkpoint(
    checkpoint: Checkpoint, target: str | os.PathLike[str], kind: str = "native", dtype: torch.dtype | None = None
) -> None:
    """Write a model.

    Args:
        checkpoint: what to write.
        target: a folder, or the file for `nemo`.
        kind: "huggingface", "nemo" or "native".
        dtype: store the weights in this type, e.g. `torch.float16`; as they are unless given. The prompt keeps its
            type: languages are told apart by small differences. `torch.int8` is for our own layout and quantises the
            matrices; the others are written in float32 then.

    Raises:
        OptionError: the kind is unknown.
        ConfigError: a setting that the layout cannot express.
        CheckpointError: the weights are not those of the configuration, or the target cannot be written.
    """
    writers = {"huggingface": write_huggingface, "nemo": write_nemo, "native": write_native}
    if kind not in writers:
        raise OptionError(f"layout {kind!r} is unknown; choose {', '.join(writers)}")
    if dtype == torch.int8 and kind != "native":
        raise OptionError(f"int8 is for the layout 'native', not for {kind!r}; choose float32, bfloat16 or float16")
    stored = to_int8(checkpoint) if dtype == torch.int8 else _as_dtype(checkpoint, kind, dtype)
    try:
        writers[kind](stored, Path(target))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise CheckpointError(f"{target} cannot be written: {reason}") from None


def _as_dtype(checkpoint: Checkpoint, kind: str, dtype: torch.dtype | None) -> Checkpoint:
    weights = checkpoint.weights
    if dtype is not None or kind != "native":
        weights = to_float(weights)
    if dtype is not None:
        weights = {name: tensor if name.startswith("prompt.") else tensor.to(dtype) for name, tensor in weights.items()}
    return replace(checkpoint, weights=weights)
