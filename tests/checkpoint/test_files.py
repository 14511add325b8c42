"""Hostile and damaged files: one clear error, nothing executed, nothing outside of the folder."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nemotron_asr.checkpoint.files import parse_yaml, read_bytes, read_json, read_safetensors, write_folder
from nemotron_asr.errors import CheckpointError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[1]", "not a JSON object"),
        (b"\xff\x00", "cannot be read"),
        (b"[" * 300_000, "recursion"),
        (b'{"a":' * 300_000, "recursion"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "limit"),
    ],
)
def test_json(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_json(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_missing_and_oversized(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_json(tmp_path / "config.json")
    (tmp_path / "big").write_bytes(b"12345")
    with pytest.raises(CheckpointError, match="has 5 bytes; the limit is 4"):
        read_bytes(tmp_path / "big", limit=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a mapping"),
        (b"- 1", "not a mapping"),
        (b"a: [", "cannot be read"),
        (b"\x00\x01", "cannot be read"),
        (b"a: " + b"[" * 200_000, "nested deeper than 64"),
        (b"- " * 200_000, "nested deeper than 64"),
        (b"{a: " * 100_000, "nested deeper than 64"),
        (b"a: " + b"9" * 10_000, "limit"),
        (b"a: !!python/object/apply:os.system ['touch owned']", "could not determine a constructor"),
        (b"a: !!python/name:os.system ''", "could not determine a constructor"),
    ],
)
def test_yaml(content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        parse_yaml(content, "model_config.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("twice", ["[*a{0}, *a{0}]", "{{<<: [*a{0}, *a{0}]}}"])
def test_a_billion_laughs_are_refused_before_the_first(twice: str) -> None:
    """Some would only be printed, in the message that they are no whole number; merged keys are copied at once."""
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {twice.format(i - 1)}" for i in range(1, 40)]
    with pytest.raises(CheckpointError, match=r"x refers to its own parts more than 16 times"):
        parse_yaml("\n".join(lines).encode(), "x")


def test_a_few_references_are_read() -> None:
    """Ours has one: the pieces are the labels."""
    assert parse_yaml(b"a: &a [x, y]\nb: *a", "x") == {"a": ["x", "y"], "b": ["x", "y"]}


def header(document: object) -> bytes:
    text = json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 100,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        header([]),
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 2**62]}}) + b"\x00" * 16,
        header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}}) + b"\x00" * 16,
        header({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}) + b"\x00" * 16,
        header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}) + b"\x00" * 24,
        header({"a": {"dtype": "OBJECT", "shape": [4], "data_offsets": [0, 16]}}) + b"\x00" * 16,
    ],
    ids=range(12),
)
def test_safetensors_that_lie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read") as error:
        read_safetensors(tmp_path)
    assert "\n" not in str(error.value)


def test_truncated_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(100.0), "b": torch.ones(3)}, path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 20, 8):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_safetensors(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        read_safetensors(tmp_path)


def shard(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "model-00002-of-00002.safetensors")
    shard(tmp_path, {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})
    tensors = read_safetensors(tmp_path)
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"a": [1, 1], "b": [0, 0, 0]}
    shard(tmp_path, {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"})
    with pytest.raises(CheckpointError, match="promises 1 tensors that no shard has, the first is 'c'"):
        read_safetensors(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is missing"):
        read_safetensors(tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", ".safetensors"])
def test_shards_lie_beside_their_index(tmp_path: Path, name: str) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    folder = tmp_path / "inner"
    folder.mkdir()
    shard(folder, {"a": name})
    with pytest.raises(CheckpointError, match="a shard is a file beside it"):
        read_safetensors(folder)


@pytest.mark.parametrize("weight_map", [None, [], {"a": 1}, "x"])
def test_shards_without_a_map(tmp_path: Path, weight_map: object) -> None:
    shard(tmp_path, weight_map)
    with pytest.raises(CheckpointError, match="has no weight_map"):
        read_safetensors(tmp_path)


def test_tensors_are_memory_mapped(tmp_path: Path) -> None:
    """A gigabyte that is not on the disk either: reading it would show."""
    resource = pytest.importorskip("resource", reason="Windows does not tell a process its peak memory this way")
    size = 2**30
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(header({"a": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}))
        file.truncate(file.tell() + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tensor = read_safetensors(tmp_path)["a"]
    assert tensor[-1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < size // 1024 // 10


def test_a_folder_never_holds_half_a_file(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    write_folder(tmp_path, {"a": lambda path: path.write_text("old")})
    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path, {"a": fail})
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
