"""NeMo's layout: NeMo's own file, what we write, and archives that mean harm."""

import gzip
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sentencepiece import SentencePieceProcessor

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nemotron_asr.errors import CheckpointError
from nemotron_asr.features import LogMel
from tests.checkpoint.conftest import TINY_NEMO, make_checkpoint

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def contents(path: Path) -> dict[str, bytes]:
    """Members by name, without NeMo's `./`."""
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name.removeprefix("./"): file.read() for name, file in files.items() if file}


def archive(path: Path, members: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in extra:
            tar.addfile(member)
    return path


def state(data: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
    return loaded


def packed(document: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tiny() -> dict[str, bytes]:
    return contents(TINY_NEMO)


def test_reads_nemos_own(tiny: dict[str, bytes]) -> None:
    checkpoint, theirs = load_checkpoint(TINY_NEMO), state(tiny[WEIGHTS])
    assert checkpoint.config.lookaheads == (13, 6, 3, 1, 0)
    assert checkpoint.config.prompts["auto"] == checkpoint.config.default_prompt == 101
    weights = checkpoint.weights
    assert torch.equal(weights["transducer.head.bias"], theirs["joint.joint_net.2.bias"])
    assert torch.equal(weights["prompt.language.weight"][9], theirs["prompt_kernel.0.weight"][:, 64 + 9])
    assert torch.equal(
        weights["encoder.blocks.1.conv.expand.weight"], theirs["encoder.layers.1.conv.pointwise_conv1.weight"][..., 0]
    )
    standard = LogMel(checkpoint.config).state_dict()
    for name, tensor in checkpoint.front_end.items():
        torch.testing.assert_close(tensor, standard[name], rtol=0, atol=1e-6)


def test_rewritten_it_is_the_same_archive(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    """Same kinds of members, same tensors, same configuration where it describes the model."""
    save_checkpoint(load_checkpoint(TINY_NEMO), tmp_path / "again.nemo", "nemo")
    again = contents(tmp_path / "again.nemo")
    assert [name.partition("_")[2] for name in again] == [name.partition("_")[2] for name in tiny]
    theirs, ours = state(tiny[WEIGHTS]), state(again[WEIGHTS])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    theirs, ours = yaml.safe_load(tiny[CONFIG]), yaml.safe_load(again[CONFIG])
    assert ours.keys() == theirs.keys()
    theirs["encoder"].pop("use_pytorch_sdpa")
    for section in ours.keys() - {"tokenizer", "decoding"}:
        assert ours[section] == theirs[section], section
    assert ours["decoding"]["greedy"]["max_symbols_per_step"] == theirs["decoding"]["greedy"]["max_symbols_per_step"]
    assert ours["tokenizer"].keys() == theirs["tokenizer"].keys()
    assert all(ours["tokenizer"][key].removeprefix("nemo:") in again for key in ("model_path", "vocab_path"))
    assert not list(tmp_path.glob(".*"))


def test_the_tokenizer_is_sentencepieces(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(checkpoint, tmp_path / "a.nemo", "nemo")
    model = next(data for name, data in contents(tmp_path / "a.nemo").items() if name.endswith("_tokenizer.model"))
    text = "Der Zug fährt <de-DE>"
    assert SentencePieceProcessor(model_proto=model).encode(text) == checkpoint.tokenizer.encode(text)


def test_there_and_back(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(checkpoint, tmp_path / "a.nemo", "nemo")
    again = load_checkpoint(tmp_path / "a.nemo")
    assert again.config == checkpoint.config
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in checkpoint.weights.items())
    assert again.tokenizer.encode("Ő, ¿qué?") == checkpoint.tokenizer.encode("Ő, ¿qué?")
    assert again.front_end.keys() == {"window", "filters"}


def test_rounded_front_ends_are_recognised(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(mel_dtype="bfloat16")
    save_checkpoint(checkpoint, tmp_path / "a.nemo", "nemo")
    assert load_checkpoint(tmp_path / "a.nemo").config.mel_dtype == "bfloat16"


def test_the_joints_last_layer_without_dropout(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    renamed = {key.replace("joint_net.2", "joint_net.1"): tensor for key, tensor in state(tiny[WEIGHTS]).items()}
    path = archive(tmp_path / "a.nemo", tiny | {WEIGHTS: packed(renamed)})
    assert torch.equal(load_checkpoint(path).weights["transducer.head.weight"], renamed["joint.joint_net.1.weight"])


def test_compressed_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.nemo"
    path.write_bytes(gzip.compress(TINY_NEMO.read_bytes(), 1))
    assert load_checkpoint(path).config == load_checkpoint(TINY_NEMO).config


def test_compressed_bombs(tmp_path: Path) -> None:
    path = tmp_path / "a.nemo"
    path.write_bytes(gzip.compress(b"\x00" * 10_000_000))
    with pytest.raises(CheckpointError, match="decompresses to more than 16 times its size"):
        load_checkpoint(path)


class Harm:
    """Pickled, it writes a file wherever it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_no_pickle_is_executed(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    owned = tmp_path / "owned"
    for weights in (packed({"a": Harm(owned)}), packed(Harm(owned)), pickle.dumps(Harm(owned))):
        path = archive(tmp_path / "a.nemo", tiny | {WEIGHTS: weights})
        with pytest.raises(CheckpointError, match=r"model_weights\.ckpt") as error:
            load_checkpoint(path)
        assert "\n" not in str(error.value)
        assert not owned.exists()


def test_no_member_escapes(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    """Members outside of the archive's folder do no harm: nothing is ever extracted."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = archive(inner / "a.nemo", {"../../escaped": b"1", "/etc/escaped": b"2", "..": b"3"} | tiny)
    assert load_checkpoint(path).config.n_layers == 2
    assert {file.name for file in tmp_path.rglob("*")} == {"a", "b", "a.nemo"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_links_and_devices_are_no_files(tmp_path: Path, tiny: dict[str, bytes], name: str, kind: bytes) -> None:
    member = tarfile.TarInfo(f"./{name}")
    member.type, member.linkname = kind, "/etc/passwd"
    path = archive(tmp_path / "a.nemo", {key: data for key, data in tiny.items() if key != name}, member)
    with pytest.raises(CheckpointError, match=f"has no file '{name}'"):
        load_checkpoint(path)


@pytest.mark.parametrize("where", ["/etc/passwd", "nemo:/etc/passwd", "nemo:../tokenizer.model", "nemo:", None, 5])
def test_the_tokenizer_is_inside(tmp_path: Path, tiny: dict[str, bytes], where: object) -> None:
    config = yaml.safe_load(tiny[CONFIG])
    config["tokenizer"]["model_path"] = where
    path = archive(tmp_path / "a.nemo", tiny | {CONFIG: yaml.safe_dump(config).encode()})
    with pytest.raises(CheckpointError, match="has no"):
        load_checkpoint(path)


def test_members_without_end(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.nemo", {f"file{i}": b"" for i in range(1001)})
    with pytest.raises(CheckpointError, match="more than 1000 members"):
        load_checkpoint(path)


def zipped(compression: int, entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"", "not a zip file"),
        (b"PK\x03\x04 nonsense", "not a zip file"),
        (zipped(zipfile.ZIP_DEFLATED, {"a/data.pkl": b"", "a/data/0": b"\x00" * 10_000_000}), "is compressed"),
        (zipped(zipfile.ZIP_STORED, {"a/data/0": b""}), "needs one data.pkl"),
        (zipped(zipfile.ZIP_STORED, {"a/data.pkl": b"."}), "cannot be read"),
        (zipped(zipfile.ZIP_STORED, {"a/data.pkl": b"\x80\x02]" + b"(" * 100_000 + b"."}), "cannot be read"),
        (packed([torch.zeros(1)]), "not a state dict"),
        (packed({1: torch.zeros(1)}), "not a state dict"),
        (packed({"a": 1}), "holds more than tensors"),
        (packed({"a": torch.zeros(1)}), r"\d+ missing .*; 1 unexpected \(a\)"),
    ],
    ids=range(10),
)
def test_weights_that_are_none(tmp_path: Path, tiny: dict[str, bytes], weights: bytes, message: str) -> None:
    path = archive(tmp_path / "a.nemo", tiny | {WEIGHTS: weights})
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_entries_that_overlap(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    """The classic bomb of a zip without compression: many entries over the same bytes."""
    data = bytearray(zipped(zipfile.ZIP_STORED, {"a/data.pkl": b".", "a/data/0": b"x" * 1000}))
    directory = data.rindex(b"PK\x01\x02")
    for field in (20, 24):  # compressed and uncompressed size
        data[directory + field : directory + field + 4] = (2**31).to_bytes(4, "little")
    path = archive(tmp_path / "a.nemo", tiny | {WEIGHTS: bytes(data)})
    with pytest.raises(CheckpointError, match="promises more bytes than it has"):
        load_checkpoint(path)


def test_tensors_larger_than_their_storage(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    """One float, expanded to the shape of a weight or a window: the bytes are not there, and no harm is done."""
    for name in ("joint.enc.weight", "preprocessor.featurizer.window"):
        tensors = state(tiny[WEIGHTS]) | {name: torch.zeros(1).expand(2**20, 2**20)}
        path = archive(tmp_path / "a.nemo", tiny | {WEIGHTS: packed(tensors)})
        with pytest.raises(
            CheckpointError, match=rf"{name} \[1048576, 1048576\] has fewer numbers than its shape says"
        ):
            load_checkpoint(path)


def test_tensors_that_are_nowhere(tmp_path: Path, tiny: dict[str, bytes]) -> None:
    tensors = state(tiny[WEIGHTS])
    for odd in (torch.empty(32, 64, device="meta"), torch.eye(3).to_sparse()):
        path = archive(tmp_path / "a.nemo", tiny | {WEIGHTS: packed(tensors | {"joint.enc.weight": odd})})
        with pytest.raises(CheckpointError, match=r"model_weights\.ckpt"):
            load_checkpoint(path)


@pytest.mark.parametrize("part", [0.999, 0.5, 0.01, 0.001, 0.0])
def test_truncated_archives(tmp_path: Path, part: float) -> None:
    whole = TINY_NEMO.read_bytes()
    path = tmp_path / "a.nemo"
    path.write_bytes(whole[: int(len(whole) * part * 0.99)])
    with pytest.raises(CheckpointError, match=r"a\.nemo") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data", [b"hello", os.urandom(5000), gzip.compress(b"")[:10] + b"\xff" * 500, b"PK" + b"\x00" * 1000]
)
def test_other_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.nemo"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.nemo") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_recording_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "talk.opus"
    path.write_bytes(b"OggS" + bytes(range(256)) * 8)
    with pytest.raises(CheckpointError, match=r"talk\.opus is not a \.nemo archive, or a damaged one$"):
        load_checkpoint(path)


def test_what_has_no_sentencepiece_form(tmp_path: Path, prompted: Checkpoint) -> None:
    target = tmp_path / "a.nemo"
    with pytest.raises(CheckpointError, match="missing"):
        save_checkpoint(replace(prompted, weights={}), target, "nemo")
    assert not target.exists()


def test_a_folder_is_not_replaced(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder; a \.nemo model is a file"):
        save_checkpoint(checkpoint, tmp_path, "nemo")
    assert not list(tmp_path.iterdir())
