"""NeMo's layout: a `.nemo` file, a tar of a configuration, a torch zip of weights and a SentencePiece model.

Members are read by name and never extracted to a path. The weights are a pickle that only tensors may come out of
(`weights_only`), checked beforehand to be a stored, uncompressed zip that cannot grow.
"""

import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import torch
import yaml
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from nemotron_asr.checkpoint.checkpoint import Checkpoint
from nemotron_asr.checkpoint.config_section import ConfigSection
from nemotron_asr.checkpoint.files import MAX_TEXT, parse_yaml, reading
from nemotron_asr.checkpoint.names import Format, pack, unpack
from nemotron_asr.checkpoint.nemo_config import read_config, write_config
from nemotron_asr.config import ModelConfig
from nemotron_asr.drafts import drafted
from nemotron_asr.errors import CheckpointError
from nemotron_asr.features import LogMel
from nemotron_asr.tokenizer import Tokenizer

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_MEMBERS = 1000
MAX_WEIGHTS = 64 * 2**30
"""Bytes; a hundred times the models of this family would not reach it."""

MAX_GROWTH = 16

_FRONT_END = {"window": "preprocessor.featurizer.window", "filters": "preprocessor.featurizer.fb"}
_GZIP = b"\x1f\x8b"


def read_nemo(path: Path) -> Checkpoint:
    """Read a `.nemo` file.

    Raises:
        CheckpointError: not a `.nemo` file, damaged, hostile, foreign or inconsistent.
        ConfigError: a setting that is not implemented.
    """
    with _open(path) as archive:
        root = ConfigSection(parse_yaml(archive.read(CONFIG), f"{path}: {CONFIG}"), CONFIG)
        config = read_config(root)
        model = str(root.section("tokenizer").get("model_path")).removeprefix("nemo:")
        tokenizer = Tokenizer.from_sentencepiece(archive.read(model))
        tensors = archive.read_weights()
    front_end = _take_front_end(tensors)
    weights = unpack(_with_dropout_names(tensors), config, Format.NEMO)
    return Checkpoint(_with_mel_dtype(config, front_end), tokenizer, weights, front_end)


@contextmanager
def _open(path: Path) -> Iterator["_Archive"]:
    with ExitStack() as stack:
        with reading(str(path)):
            file = stack.enter_context(path.open("rb"))
            plain = _gunzip(file, path, stack) if file.read(2) == _GZIP else file
            plain.seek(0)
            tar = stack.enter_context(_tar(plain, path))
        yield _Archive(path, tar)


def _tar(file: IO[bytes], path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except tarfile.TarError:
        raise CheckpointError(f"{path} is not a .nemo archive, or a damaged one") from None


def _gunzip(file: IO[bytes], path: Path, stack: ExitStack) -> IO[bytes]:
    """Early versions of NeMo compressed their archives; weights hardly shrink, so what grows a lot is no archive."""
    limit = MAX_GROWTH * path.stat().st_size
    file.seek(0)
    plain = stack.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
    with gzip.open(file) as source:
        while block := source.read(2**20):
            if plain.write(block) and plain.tell() > limit:
                raise CheckpointError(f"{path} decompresses to more than {MAX_GROWTH} times its size")
    return plain


class _Archive:
    """The regular files of a tar, by name."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self.path, self.tar = path, tar
        with reading(str(path)):
            members = list(islice(tar, MAX_MEMBERS + 1))
        if len(members) > MAX_MEMBERS:
            raise CheckpointError(f"{path} has more than {MAX_MEMBERS} members")
        self.members = {member.name.removeprefix("./"): member for member in members}

    def file(self, name: str, limit: int) -> IO[bytes]:
        """A member, seekable; a link or a device is none."""
        member = self.members.get(name)
        if member is None or not member.isreg() or member.issparse():
            raise CheckpointError(f"{self.path} has no file {name[:80]!r}")
        if member.size > limit:
            raise CheckpointError(f"{self.path}: {name} has {member.size} bytes; the limit is {limit}")
        with reading(f"{self.path}: {name}"):
            file = self.tar.extractfile(member)
        if file is None or file.seek(0, os.SEEK_END) != member.size:
            raise CheckpointError(f"{self.path}: {name} is not a file")
        file.seek(0)
        return file

    def read(self, name: str) -> bytes:
        with self.file(name, MAX_TEXT) as file, reading(f"{self.path}: {name}"):
            return file.read()

    def read_weights(self) -> dict[str, Tensor]:
        """The state dict; nothing but tensors comes out of the pickle."""
        with self.file(WEIGHTS, MAX_WEIGHTS) as file:
            what = f"{self.path}: {WEIGHTS}"
            _check_zip(file, self.members[WEIGHTS].size, what)
            with reading(what):
                state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise CheckpointError(f"{what} is not a state dict")
        if not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise CheckpointError(f"{what} holds more than tensors")
        with reading(what):
            _check_storage(state, what)
        return dict(state)


def _check_storage(state: dict[str, Tensor], what: str) -> None:
    """A tensor may repeat one number of the file as often as it likes, until it is copied."""
    for name, tensor in state.items():
        if tensor.device.type != "cpu" or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{what}: {name[:80]} {list(tensor.shape)} has fewer numbers than its shape says")


def _check_zip(file: IO[bytes], size: int, what: str) -> None:
    """A zip from torch stores without compression, so what it promises is never more than what it is."""
    with reading(what):
        entries = zipfile.ZipFile(file).infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{what} is compressed, which torch never does")
    if sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(f"{what} promises more bytes than it has")
    pickles = [entry.file_size for entry in entries if entry.filename.endswith("data.pkl")]
    if len(pickles) != 1 or pickles[0] > MAX_TEXT:
        raise CheckpointError(f"{what} is not a torch zip: it needs one data.pkl of at most {MAX_TEXT} bytes")
    file.seek(0)


def _take_front_end(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the front end's buffers from the state dict and return them."""
    found = {name: tensors.pop(theirs) for name, theirs in _FRONT_END.items() if theirs in tensors}
    if "filters" in found and found["filters"].dim() == 3:
        found["filters"] = found["filters"].squeeze(0)
    return found


def _with_mel_dtype(config: ModelConfig, front_end: dict[str, Tensor]) -> ModelConfig:
    """NeMo does not say to what precision a front end was rounded; its buffers show it."""
    for name in ("bfloat16", "float16"):
        dtype = getattr(torch, name)
        if front_end and all(torch.equal(tensor, tensor.to(dtype).to(tensor)) for tensor in front_end.values()):
            return replace(config, mel_dtype=name)
    return config


def _with_dropout_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without dropout in the joint its last layer has the number before."""
    return {re.sub(r"^joint\.joint_net\.1\.", "joint.joint_net.2.", name): tensor for name, tensor in tensors.items()}


def write_nemo(checkpoint: Checkpoint, path: Path) -> None:
    """Write a `.nemo` file as NeMo 3.0 lays it out.

    Raises:
        ConfigError: a setting that NeMo cannot express.
        CheckpointError: the weights are not those of the configuration, or the tokenizer has no SentencePiece form,
            or there is a folder in its place.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; a .nemo model is a file")
    tokenizer, config = checkpoint.tokenizer, checkpoint.config
    pieces = [tokenizer.piece(id_) for id_ in range(tokenizer.vocab_size)]
    model = tokenizer.to_sentencepiece()
    scores = SentencePieceProcessor(model_proto=model).get_score(list(range(len(pieces))))
    files = {
        "model_path": ("tokenizer.model", model),
        "vocab_path": ("vocab.txt", _lines(pieces)),
        "spe_tokenizer_vocab": ("tokenizer.vocab", _lines(f"{p}\t{s}" for p, s in zip(pieces, scores, strict=True))),
    }
    members = {key: f"{_digest(data)}_{name}" for key, (name, data) in files.items()}
    document = write_config(config, pieces, {key: f"nemo:{name}" for key, name in members.items()})
    tensors = {**_front_end(checkpoint), **pack(checkpoint.weights, config, Format.NEMO)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with drafted(path) as draft, tarfile.open(draft, "w") as tar:
        for key, name in members.items():
            _add(tar, name, io.BytesIO(files[key][1]))
        _add(tar, CONFIG, io.BytesIO(_yaml(document)))
        with TemporaryFile() as weights:
            torch.save({name: tensor.clone() for name, tensor in tensors.items()}, weights)
            _add(tar, WEIGHTS, weights)


def _front_end(checkpoint: Checkpoint) -> dict[str, Tensor]:
    standard = LogMel(checkpoint.config)
    window, filters = standard.window, standard.filters
    found = {"window": window, "filters": filters, **checkpoint.front_end}
    return {_FRONT_END["window"]: found["window"], _FRONT_END["filters"]: found["filters"][None]}


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _yaml(document: dict[str, Any]) -> bytes:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: bytes = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, encoding="utf-8")
    return text


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    member = tarfile.TarInfo(f"./{name}")
    member.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar.addfile(member, file)
