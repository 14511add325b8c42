"""From a name to a model: the embedded one, folders, files, the hub; all layouts into one another."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors import SafetensorError

from nemotron_asr.checkpoint import Checkpoint, files, load_checkpoint, save_checkpoint
from nemotron_asr.errors import CheckpointError, ConfigError, OptionError

LAYOUTS = ["huggingface", "nemo", "native"]
RELEASED = "nvidia/nemotron-3.5-asr-streaming-0.6b"


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_every_layout_into_every_other(tmp_path: Path, checkpoint: Checkpoint, first: str, second: str) -> None:
    save_checkpoint(checkpoint, tmp_path / "first.nemo", first)
    save_checkpoint(load_checkpoint(tmp_path / "first.nemo"), tmp_path / "second.nemo", second)
    again = load_checkpoint(str(tmp_path / "second.nemo"))
    assert again.config == checkpoint.config
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in checkpoint.weights.items())
    assert again.tokenizer.encode("Où est-ce ? <de-DE>") == checkpoint.tokenizer.encode("Où est-ce ? <de-DE>")


def test_a_layout_over_itself(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """The file that is written is the one that the weights are mapped from."""
    for layout in LAYOUTS:
        target = tmp_path / f"{layout}.nemo"
        save_checkpoint(checkpoint, target, layout)
        save_checkpoint(load_checkpoint(target), target, layout)
        again = load_checkpoint(target)
        assert all(torch.equal(again.weights[name], tensor) for name, tensor in checkpoint.weights.items())


def test_unknown_layout(tmp_path: Path, prompted: Checkpoint) -> None:
    with pytest.raises(OptionError, match="layout 'onnx' is unknown; choose huggingface, nemo, native"):
        save_checkpoint(prompted, tmp_path, "onnx")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_targets_that_cannot_be_written(tmp_path: Path, prompted: Checkpoint, layout: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(prompted, tmp_path / "file" / "model", layout)


@pytest.mark.parametrize("name", ["nonsense", "", "a/b/c", "../up", "nemotron", "C:\\model", "x" * 5000, "a\x00b"])
def test_names_of_nothing(name: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"there is no model .*; choose tiny, nemotron-3.5, nemotron-en, "
    ) as error:
        load_checkpoint(name)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("source", [None, 5, b"tiny", ["tiny"]])
def test_what_is_no_name(source: Any) -> None:
    with pytest.raises(OptionError, match=r"^model is .*, not a name or a path$"):
        load_checkpoint(source)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_with_which_nothing_would_be_said(
    tmp_path: Path, prompted: Checkpoint, number: float, layout: str
) -> None:
    damaged = {**prompted.weights, "prompt.out.bias": prompted.weights["prompt.out.bias"] * number}
    save_checkpoint(replace(prompted, weights=damaged), tmp_path / "model", layout)
    with pytest.raises(CheckpointError, match=r"prompt\.out\.bias has numbers that are not finite"):
        load_checkpoint(tmp_path / "model")


def test_folders_and_files_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is not a model: it has no config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper", "d_model": 384}))
    with pytest.raises(ConfigError, match="model_type = 'whisper' is not supported"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a part of a model; give its folder"):
        load_checkpoint(tmp_path / "model.safetensors")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of Hugging Face's, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("name", [RELEASED, "nemotron-3.5", "nemotron-en"])
@pytest.mark.usefixtures("cache")
def test_offline_with_nothing_cached(name: str) -> None:
    command = r"`hf download nvidia/(nemotron-.*0\.6b) --local-dir \1`"
    with pytest.raises(CheckpointError, match=f"cannot be reached; run {command} where it can") as error:
        load_checkpoint(name)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("cache")
def test_names_that_the_hub_refuses() -> None:
    with pytest.raises(CheckpointError, match=r"there is no folder a--b/c\.\.d, nor can"):
        load_checkpoint("a--b/c..d")


def test_a_connection_that_breaks_off_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadError(Exception):
        """What the library for HTTP raises is neither an OSError nor a ValueError."""

    def break_off(*_: object, **__: object) -> None:
        raise ReadError("connection\nreset")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", break_off)
    with pytest.raises(CheckpointError, match=r"to its end: connection reset; what has come is kept, so try again"):
        load_checkpoint(RELEASED)


def test_a_full_disk_is_one_line(tmp_path: Path, prompted: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("No space left\non device")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        save_checkpoint(prompted, tmp_path / "a", "native")
    assert not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize("name", [RELEASED, "nemotron-3.5"])
def test_from_the_cache(cache: Path, prompted: Checkpoint, name: str) -> None:
    repository = cache / f"models--{RELEASED.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    save_checkpoint(prompted, repository / "snapshots" / "abc123", "huggingface")
    assert load_checkpoint(name).config == prompted.config
    shutil.rmtree(repository / "snapshots" / "abc123")
    (repository / "snapshots" / "abc123").mkdir()
    with pytest.raises(CheckpointError, match=r"it has no config\.json"):
        load_checkpoint(name)
