"""Files that nobody vouches for: read within limits, and whatever is wrong with them said in one line."""

import json
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nemotron_asr.checkpoint.mapping import MappedFile
from nemotron_asr.drafts import drafted
from nemotron_asr.errors import CheckpointError, one_line

MAX_TEXT = 64 * 2**20
"""Bytes of a configuration or a tokenizer; the largest known have two million."""

MAX_DEPTH = 64
"""Nesting of a configuration. libyaml's own limit is the C stack."""

MAX_ALIASES = 16
"""References within a configuration. NeMo writes none, we one; each can double what is read and what is printed."""

MALFORMED = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, EOFError,
    OSError, MemoryError, UnpicklingError, SafetensorError, yaml.YAMLError, tarfile.TarError, zipfile.BadZipFile,
    zlib.error, struct.error,
)  # fmt: skip
"""What torch and the parsers raise on damaged data."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a parser raises into one `CheckpointError` of one line."""
    try:
        yield
    except CheckpointError:
        raise
    except MALFORMED as error:
        reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
        raise CheckpointError(f"{what} cannot be read: {reason}") from None


def read_bytes(path: Path, limit: int = MAX_TEXT) -> bytes:
    """A whole file.

    Raises:
        CheckpointError: missing, unreadable, or longer than `limit`.
    """
    with reading(str(path)):
        size = path.stat().st_size
        if size > limit:
            raise CheckpointError(f"{path} has {size} bytes; the limit is {limit}")
        return path.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: missing, too large or too deep, or not a JSON object.
    """
    data = read_bytes(path)
    with reading(str(path)):
        document = json.loads(data)
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return document


def parse_yaml(data: bytes, what: str) -> dict[Any, Any]:
    """A YAML mapping of plain values.

    Raises:
        CheckpointError: not YAML, too deep, full of references, not a mapping, or it asks for Python objects.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with reading(what):
        _check_size(data, loader, what)
        document = yaml.load(data, Loader=loader)  # noqa: S506 - both loaders are the safe one
    if not isinstance(document, dict):
        raise CheckpointError(f"{what} is not a mapping")
    return document


def _check_size(data: bytes, loader: Any, what: str) -> None:
    """Find out, before anything is built, whether a small document means a large one."""
    depth = aliases = 0
    for event in yaml.parse(data, Loader=loader):
        aliases += isinstance(event, yaml.events.AliasEvent)
        if aliases > MAX_ALIASES:
            raise CheckpointError(f"{what} refers to its own parts more than {MAX_ALIASES} times")
        depth += isinstance(event, yaml.events.CollectionStartEvent) - isinstance(event, yaml.events.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise CheckpointError(f"{what} is nested deeper than {MAX_DEPTH}")


def read_safetensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` lists, memory-mapped.

    Raises:
        CheckpointError: missing, truncated or damaged.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return _open_safetensors(folder / "model.safetensors")
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(shard, str) for shard in where.values()):
        raise CheckpointError(f"{index} has no weight_map")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(where.values())):
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", shard):
            raise CheckpointError(f"{index} names the shard {shard[:80]!r}; a shard is a file beside it")
        tensors |= _open_safetensors(folder / shard)
    absent = [name for name in where if name not in tensors]
    if absent:
        raise CheckpointError(
            f"{index} promises {len(absent)} tensors that no shard has, the first is {absent[0][:80]!r}"
        )
    return tensors


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    with reading(str(path)):
        with safe_open(path, framework="pt") as file:  # checks the header, on which the rest relies
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
        mapped = MappedFile(path)
        data = 8 + int.from_bytes(mapped.bytes(0, 8), "little")
        header = json.loads(mapped.bytes(8, data))
        starts = {name: data + header[name]["data_offsets"][0] for name in tensors}
        return {name: mapped.tensor(starts[name], tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


Writer = Callable[[Path], object]


def safetensors_writer(tensors: dict[str, Tensor]) -> Writer:
    """Writes tensors, from wherever they are."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return lambda path: save_file(plain, path, metadata={"format": "pt"})


def text_writer(text: str) -> Writer:
    """Writes a text."""
    return lambda path: path.write_text(text, encoding="utf-8")


def json_writer(document: dict[str, Any]) -> Writer:
    """Writes a JSON object for people to read."""
    return text_writer(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_folder(folder: Path, files: dict[str, Writer]) -> None:
    """Write files into a folder, one after the other, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in files.items():
        with drafted(folder / name) as draft:
            draft.touch()
            mode = draft.stat().st_mode  # as the user's umask has it; safetensors lets nobody else read
            write(draft)
            draft.chmod(mode)
