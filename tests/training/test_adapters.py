"""Adapters: they alone are trained, and merged into the model's matrices they compute the same."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nemotron_asr.checkpoint.adapter import fingerprint
from nemotron_asr.errors import CheckpointError
from nemotron_asr.model import NemotronASR
from nemotron_asr.training.adapters import TARGETS, add_adapters, narrow_frozen, save_adapter
from nemotron_asr.training.state import trained

RANK = 3


@pytest.fixture
def adapted(base: Checkpoint) -> NemotronASR:
    """The model with adapters that say something."""
    model = NemotronASR(base.config)
    model.load_state_dict(base.weights)
    add_adapters(model, RANK)
    for parameter in trained(model).values():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def weights(model: NemotronASR) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in trained(model).items()}


@torch.no_grad()
def outputs(model: NemotronASR) -> Tensor:
    """What the whole model computes from some noise."""
    torch.manual_seed(1)
    mel, end = torch.randn(2, 80, model.config.n_mels), torch.tensor([80, 50])
    frames, _ = model.encoder(mel, end, model.encoder.initial_state(2, history=0), chunk=4)
    enc = model.transducer.project(model.prompt(frames, torch.tensor([3, 9])))
    pred, _ = model.transducer.predict(torch.tensor([[1, 2], [3, 4]]), model.transducer.initial_state(2))
    return model.transducer.joint(enc[:, :, None], pred[:, None])


def merged(folder: Path) -> NemotronASR:
    checkpoint = load_checkpoint(folder)
    model = NemotronASR(checkpoint.config)
    model.load_state_dict(checkpoint.weights)
    return model.eval()


def test_merged_equals_unmerged(adapted: NemotronASR, base: Checkpoint, tmp_path: Path) -> None:
    save_adapter(weights(adapted), tmp_path / "adapter", str(tmp_path / "base"), base, "# Card")
    plain = merged(tmp_path / "base")
    assert not torch.allclose(outputs(adapted), outputs(plain), atol=0.1)
    torch.testing.assert_close(outputs(merged(tmp_path / "adapter")), outputs(adapted), rtol=1e-4, atol=1e-4)


def test_an_adapter_says_what_it_was_made_from(adapted: NemotronASR, base: Checkpoint, tmp_path: Path) -> None:
    save_adapter(weights(adapted), tmp_path / "adapter", str(tmp_path / "base"), base, "# Card")
    assert load_checkpoint(tmp_path / "adapter").about["fine_tuned_from"] == str(tmp_path / "base")
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(
        CheckpointError, match=r"adapter is an adapter for another model, which its adapter_config\.json"
    ):
        load_checkpoint(tmp_path / "adapter")


def test_peft_reads_what_we_write(adapted: NemotronASR, base: Checkpoint, tmp_path: Path) -> None:
    from peft import PeftModel

    save_adapter(weights(adapted), tmp_path / "adapter", str(tmp_path / "base"), base, "# Card")
    theirs = PeftModel.from_pretrained(merged(tmp_path / "base"), str(tmp_path / "adapter")).base_model.model
    torch.testing.assert_close(outputs(theirs.eval()), outputs(adapted), rtol=1e-4, atol=1e-4)


def test_training_changes_adapters_alone(adapted: NemotronASR, base: Checkpoint) -> None:
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}
    mel, end = torch.randn(1, 80, base.config.n_mels), torch.tensor([80])
    frames, _ = adapted.encoder(mel, end, adapted.encoder.initial_state(1, history=0), chunk=4)
    pred, _ = adapted.transducer.predict(torch.tensor([[1, 2]]), adapted.transducer.initial_state(1))
    enc = adapted.transducer.project(adapted.prompt(frames, torch.tensor([3])))
    adapted.transducer.joint(enc[:, :2], pred).square().sum().backward()
    optimizer.step()
    changed = {name for name, parameter in adapted.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == set(trained(adapted))
    adapters = {name.split(".lora_")[0] for name in changed}
    assert adapters == {name.removesuffix(".weight") for name in base.weights if re.fullmatch(TARGETS, name[:-7])}
    assert all(".lora_" in name for name in changed)


def test_frozen_matrices_of_the_encoder_can_be_narrow(adapted: NemotronASR) -> None:
    narrow_frozen(adapted)
    dtypes = {name: parameter.dtype for name, parameter in adapted.named_parameters()}
    assert dtypes["encoder.blocks.0.ff1.up.base_layer.weight"] == torch.bfloat16
    assert {dtypes[name] for name in trained(adapted)} == {torch.float32}
    assert dtypes["prompt.frame.base_layer.weight"] == dtypes["transducer.head.weight"] == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type = 'IA3' is not supported"),
        ({"use_rslora": True}, "use_rslora = True is not supported"),
        ({"use_dora": True}, "use_dora = True is not supported"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out = True is not supported"),
        ({"alpha_pattern": {"encoder.blocks.0.ff1.up": 100}}, "alpha_pattern = {.*} is not supported"),
        ({"rank_pattern": {"encoder.blocks.0.ff1.up": 1}}, "rank_pattern = {.*} is not supported"),
        ({"modules_to_save": ["transducer.head"]}, "modules_to_save = .* is not supported"),
        ({"lora_alpha": 6.5}, "lora_alpha = 6.5 must be a whole number"),
        ({"r": 0}, "r = 0 must be a whole number from 1"),
        ({"base_model_name_or_path": None}, "it must name a whole model|has no base_model_name_or_path"),
        ({"base_model_name_or_path": "ADAPTER"}, "it must name a whole model"),
        ({"base_model_name_or_path": "OTHER"}, "is not a matrix of the model|made for another version"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_clear_error(
    adapted: NemotronASR, base: Checkpoint, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder = tmp_path / "adapter"
    save_adapter(weights(adapted), folder, str(tmp_path / "base"), base, "# Card")
    path = folder / "adapter_config.json"
    names: dict[str, object] = {"ADAPTER": str(folder), "OTHER": "tiny"}
    settings = {**json.loads(path.read_text()), **{key: names.get(str(value), value) for key, value in changes.items()}}
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_settings_that_change_nothing_are_taken(adapted: NemotronASR, base: Checkpoint, tmp_path: Path) -> None:
    """As `peft` writes them."""
    save_adapter(weights(adapted), tmp_path, str(tmp_path / "base"), base, "# Card")
    before, path = load_checkpoint(tmp_path).weights, tmp_path / "adapter_config.json"
    plain = {"use_rslora": False, "use_dora": False, "fan_in_fan_out": False, "lora_alpha": float(2 * RANK)}
    empty: dict[str, Any] = {"alpha_pattern": {}, "rank_pattern": {}, "modules_to_save": None}
    path.write_text(json.dumps({**json.loads(path.read_text()), **plain, **empty}))
    after = load_checkpoint(tmp_path).weights
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("name", ["encoder.blocks.0.norm_out.weight", "encoder.blocks.1.ff1.up.weight"])
def test_an_adapter_knows_the_version_of_its_model(
    adapted: NemotronASR, base: Checkpoint, tmp_path: Path, name: str
) -> None:
    save_adapter(weights(adapted), tmp_path / "adapter", str(tmp_path / "base"), base, "# Card")
    save_checkpoint(replace(base, weights={**base.weights, name: 1.01 * base.weights[name]}), tmp_path / "base")
    with pytest.raises(CheckpointError, match="made for another version of the model"):
        load_checkpoint(tmp_path / "adapter")


def test_an_older_adapter_knows_the_norms_of_its_model(adapted: NemotronASR, base: Checkpoint, tmp_path: Path) -> None:
    save_adapter(weights(adapted), tmp_path / "adapter", str(tmp_path / "base"), base, "# Card")
    norms = torch.cat([base.weights[f"encoder.blocks.{i}.norm_out.weight"] for i in range(2)])
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    factors = load_file(path)
    save_file(
        factors, path, metadata={"format": "pt", "made_for": hashlib.sha256(norms.numpy().tobytes()).hexdigest()[:16]}
    )
    assert load_checkpoint(tmp_path / "adapter").weights
    save_file(factors, path, metadata={"format": "pt", "made_for": "of another model"})
    with pytest.raises(CheckpointError, match="made for another version of the model"):
        load_checkpoint(tmp_path / "adapter")


def test_factors_that_do_not_fit_are_named(adapted: NemotronASR, base: Checkpoint, tmp_path: Path) -> None:
    wrong = weights(adapted)
    name = next(name for name in wrong if "ff1.up.lora_B" in name)
    save_adapter({**wrong, name: torch.zeros(5, RANK)}, tmp_path / "adapter", str(tmp_path / "base"), base, "")
    with pytest.raises(CheckpointError, match=r"factors of 'encoder\.blocks\.0\.ff1\.up' do not fit"):
        load_checkpoint(tmp_path / "adapter")


@pytest.mark.parametrize(("name", "said"), [("tiny", "tiny"), ("base", "PLACE"), ("owner/name", "owner/name")])
def test_an_adapter_names_its_model_as_it_was_loaded(
    adapted: NemotronASR, base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    """A folder that is called as the embedded model is not meant."""
    monkeypatch.chdir(tmp_path)
    Path("tiny").mkdir()
    save_adapter(weights(adapted), Path("adapter"), name, base, "# Card")
    settings = json.loads(Path("adapter/adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == said.replace("PLACE", str(tmp_path / name))


def test_other_weights_have_another_fingerprint() -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    found = fingerprint(weights)
    assert fingerprint(dict(reversed(weights.items()))) == found
    assert fingerprint({**weights, "a": weights["a"] + 1}) != found
    assert fingerprint({"a": weights["a"], "c": weights["b"]}) != found
