"""Our own layout keeps everything, in half the space if asked to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nemotron_asr.errors import CheckpointError, ConfigError
from nemotron_asr.features import LogMel


def test_there_and_back(tmp_path: Path, checkpoint: Checkpoint) -> None:
    about = {"trained on": "nothing", "error": {"de-DE": 1.0}}
    whole = replace(checkpoint, front_end=LogMel(checkpoint.config).state_dict(), about=about)
    save_checkpoint(whole, tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.config == whole.config
    assert again.about == about
    for ours, theirs in ((again.weights, whole.weights), (again.front_end, whole.front_end)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert again.tokenizer.to_sentencepiece() == whole.tokenizer.to_sentencepiece()


def test_half_precision(tmp_path: Path, prompted: Checkpoint) -> None:
    save_checkpoint(prompted, tmp_path / "half", dtype=torch.float16)
    again = load_checkpoint(tmp_path / "half")
    for name, tensor in prompted.weights.items():
        dtype = torch.float32 if name.startswith("prompt.") else torch.float16
        assert again.weights[name].dtype == dtype
        assert torch.equal(again.weights[name], tensor.to(dtype))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 2, "version = 2 is not supported; supported: 1"),
        ("model.colour", 1, "'colour' is unknown to this version; it knows n_mels, "),
        ("model.n_layers", 10**6, "n_layers = 1000000 must be a whole number from 0 to 1024"),
        ("model.n_layers", "2", "n_layers = '2' must be a whole number"),
        ("model.left_context", 2**20, "left_context is 1048576; it must be at most 4096"),
        ("model.max_symbols", 2**20, "max_symbols is 1048576; it must be at most 1000"),
        ("model.lookaheads", 3, "lookaheads = 3 must be a list"),
        ("model.use_bias", 0, "use_bias = 0 must be true or false"),
        ("model.preemphasis", -1, "preemphasis = -1 must be a number from 0 to 1"),
        ("model.mel_dtype", [], r"mel_dtype = \[\] is not supported; supported: 'float32', 'bfloat16', 'float16'"),
        ("model.prompts", {"de": 1.5}, "gives 'de' the row 1.5"),
        ("model.n_heads", 5, "is not an even multiple of the 5 heads"),
        ("model", None, "has no model"),
        ("about", 5, "about is 5; it must be a mapping"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, prompted: Checkpoint, path: str, value: object, message: str) -> None:
    save_checkpoint(prompted, tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    *outer, last = path.split(".")
    (document[outer[0]] if outer else document)[last] = value
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=message):
        load_checkpoint(tmp_path)


def test_tensors_that_do_not_belong(tmp_path: Path, prompted: Checkpoint) -> None:
    save_checkpoint(replace(prompted, front_end={"window": torch.ones(400)}), tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document["model"]["n_layers"] = 1
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"26 unexpected \(encoder.blocks.1"):
        load_checkpoint(tmp_path)
