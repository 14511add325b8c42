"""Hugging Face's layout: what transformers saves we read, what we write transformers loads and computes the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForRNNT, AutoProcessor, NemotronAsrStreamingFeatureExtractor

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nemotron_asr.checkpoint.huggingface import PLAIN, PROMPTED
from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import CheckpointError, ConfigError
from nemotron_asr.features import LogMel
from nemotron_asr.languages import PROMPTS
from nemotron_asr.model import NemotronASR, encoder_frames
from nemotron_asr.tokenizer import Tokenizer
from tests.checkpoint.conftest import make_checkpoint
from tests.conformance.pairs import random_theirs
from tests.sentences import train

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
    pytest.mark.filterwarnings("ignore::UserWarning:transformers"),
]


def our_frames(checkpoint: Checkpoint, mel: Tensor, prompt: int, lookahead: int) -> Tensor:
    """Projected, prompted frames of one utterance: the joint's input."""
    model = NemotronASR(checkpoint.config).eval()
    model.load_state_dict(checkpoint.weights)
    frames = encoder_frames(mel.shape[1])
    padded = torch.nn.functional.pad(mel, (0, 0, 7, 8 * frames - mel.shape[1] - 7))
    state = model.encoder.initial_state(1, history=0)
    encoded, _ = model.encoder(padded, torch.tensor([mel.shape[1]]), state, lookahead + 1)
    projected: Tensor = model.transducer.project(model.prompt(encoded, torch.tensor([prompt])))
    return projected


@torch.no_grad()
def test_transformers_computes_the_same(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(checkpoint, tmp_path, "huggingface")
    theirs = AutoModelForRNNT.from_pretrained(tmp_path).eval()
    mel = torch.randn(1, 150, checkpoint.config.n_mels, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 150, dtype=torch.bool)
    for prompt, lookahead in [(0, 6), (27, 0), (101, 13)]:
        asked = {"prompt_ids": torch.tensor([prompt])} if checkpoint.config.n_prompts else {}
        output = theirs.get_audio_features(mel, attention_mask=mask, num_lookahead_tokens=lookahead, **asked)
        expected = our_frames(checkpoint, mel, prompt, lookahead)
        torch.testing.assert_close(output.pooler_output, expected, rtol=0, atol=2e-4)


def test_the_processor_is_complete(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(checkpoint, tmp_path, "huggingface")
    processor, config = AutoProcessor.from_pretrained(tmp_path), checkpoint.config
    assert processor.blank_token_id == config.blank
    assert processor.supported_num_lookahead_tokens == list(config.lookaheads)
    assert processor.default_num_lookahead_tokens == config.lookaheads[0]
    if config.n_prompts:
        assert processor.prompt_dictionary == dict(config.prompts)
    assert AutoConfig.from_pretrained(tmp_path).encoder_config.sliding_window == config.left_context + 1
    samples = torch.randn(16000, generator=torch.Generator().manual_seed(0)).numpy() / 10
    inputs = processor(samples, sampling_rate=16000)
    window = torch.nn.functional.pad(torch.from_numpy(samples), (257, 256))[None]
    ours = LogMel(config)(window, torch.tensor([-256]), torch.tensor([16000]))
    torch.testing.assert_close(inputs["input_features"][:, :100], ours[:, :100], rtol=0, atol=1e-3)
    ids = checkpoint.tokenizer.encode("Der Zug <de-DE>")
    assert processor.decode(ids) == checkpoint.tokenizer.decode(ids)
    assert processor.decode(ids, skip_special_tokens=True).strip() == "Der Zug"


def saved_by_transformers(folder: Path, checkpoint: Checkpoint) -> Any:
    """A random model with tokenizer and processor, saved by transformers alone but for tokenizer.json."""
    save_checkpoint(checkpoint, folder, "huggingface")
    AutoProcessor.from_pretrained(folder).save_pretrained(folder)
    model = random_theirs(checkpoint.config).float()
    model.save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink()
    return model


def test_reads_what_transformers_saves_in_shards(tmp_path: Path, checkpoint: Checkpoint) -> None:
    model = saved_by_transformers(tmp_path, checkpoint)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    loaded = load_checkpoint(tmp_path)
    assert replace(loaded.config, lookaheads=checkpoint.config.lookaheads) == checkpoint.config
    torch.testing.assert_close(
        loaded.weights["encoder.blocks.1.attention.q.weight"], model.encoder.layers[1].self_attn.q_proj.weight
    )
    torch.testing.assert_close(loaded.weights["transducer.embed.weight"], model.decoder.embedding.weight)
    assert loaded.tokenizer.encode("Der Zug <de-DE>") == checkpoint.tokenizer.encode("Der Zug <de-DE>")


def test_there_and_back(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(checkpoint, tmp_path, "huggingface")
    again = load_checkpoint(tmp_path)
    assert again.config == checkpoint.config
    assert again.front_end == {}
    for name, tensor in checkpoint.weights.items():
        assert torch.equal(again.weights[name], tensor), name
    assert [again.tokenizer.piece(i) for i in range(again.tokenizer.vocab_size)] == [
        checkpoint.tokenizer.piece(i) for i in range(checkpoint.tokenizer.vocab_size)
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounded_front_ends(tmp_path: Path, dtype: str) -> None:
    checkpoint = make_checkpoint(mel_dtype=dtype, preemphasis=0.0, prompts=dict(PROMPTS))
    save_checkpoint(checkpoint, tmp_path, "huggingface")
    assert AutoProcessor.from_pretrained(tmp_path).feature_extractor.mel_filters_dtype == dtype
    assert load_checkpoint(tmp_path).config == checkpoint.config


def test_front_end_in_a_file_of_its_own(tmp_path: Path, prompted: Checkpoint) -> None:
    save_checkpoint(prompted, tmp_path, "huggingface")
    NemotronAsrStreamingFeatureExtractor(feature_size=32, preemphasis=0.9).save_pretrained(tmp_path)
    edit(tmp_path / "processor_config.json", {"feature_extractor": None}, delete=True)
    assert load_checkpoint(tmp_path).config == replace(prompted.config, preemphasis=0.9)


def test_without_a_processor(tmp_path: Path, prompted: Checkpoint) -> None:
    save_checkpoint(prompted, tmp_path, "huggingface")
    (tmp_path / "processor_config.json").unlink()
    config = load_checkpoint(tmp_path).config
    assert config == replace(prompted.config, prompts=dict(PROMPTS), lookaheads=(6,))


def edit(path: Path, changes: dict[str, object], *, delete: bool = False) -> None:
    """Change keys of a JSON file; `a__b` is b inside of a."""
    document = json.loads(path.read_text())
    for key, value in changes.items():
        *outer, last = key.split("__")
        inner = document
        for name in outer:
            inner = inner[name]
        if delete:
            del inner[last]
        else:
            inner[last] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "whisper"}, f"model_type = 'whisper' is not supported; supported: '{PROMPTED}', '{PLAIN}'"),
        ({"model_type": 5}, "model_type = 5 is not supported"),
        ({"encoder_config": None}, "config.json has no encoder_config"),
        ({"encoder_config": []}, r"encoder_config is \[\]; it must be a mapping"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported; supported: 'relu'"),
        ({"encoder_config__hidden_act": "relu"}, "hidden_act = 'relu' is not supported; supported: 'silu'"),
        ({"encoder_config__subsampling_factor": 4}, "subsampling_factor = 4 is not supported; supported: 8"),
        ({"encoder_config__subsampling_conv_stride": 1}, "subsampling_conv_stride = 1 is not supported"),
        ({"encoder_config__convolution_bias": True}, "convolution_bias = True is not supported; supported: False"),
        ({"encoder_config__num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000 must be a whole number"),
        ({"encoder_config__hidden_size": 1e99}, r"hidden_size = 1e\+99 must be a whole number"),
        ({"encoder_config__hidden_size": 50}, "d_model 50 is not an even multiple of the 4 heads"),
        ({"encoder_config__num_hidden_layers": 3}, r"\d+ missing \(encoder.layers.2"),
        ({"encoder_config__num_hidden_layers": 1}, r"\d+ unexpected \(encoder.layers.1"),
        ({"encoder_config__sliding_window": 9999}, "left_context is 9998; it must be at most 4096"),
        ({"max_symbols_per_step": 2000}, "max_symbols is 2000; it must be at most 1000"),
        ({"encoder_config__intermediate_size": 8}, "of another shape"),
        ({"blank_token_id": 3}, "blank_token_id = 3 is not supported; supported: "),
        ({"default_prompt_id": 500}, r"default_prompt 500 is outside 0\.\.127"),
        ({"vocab_size": 30, "blank_token_id": 29}, r"of another shape \(decoder.embedding.weight"),
    ],
)  # fmt: skip
def test_what_is_not_implemented_is_named(
    tmp_path: Path, prompted: Checkpoint, changes: dict[str, object], message: str
) -> None:
    save_checkpoint(prompted, tmp_path, "huggingface")
    edit(tmp_path / "config.json", changes)
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_extractor__hop_length": 80}, "hop_length = 80 is not supported; supported: 160"),
        ({"feature_extractor__feature_size": 80}, "feature_size = 80 is not supported; supported: 32"),
        ({"feature_extractor__mel_filters_dtype": ["x"]}, r"mel_filters_dtype = \['x'\] is not supported"),
        ({"feature_extractor__preemphasis": 7}, "preemphasis = 7 must be a number from 0 to 1"),
        ({"prompt_dictionary": {"de-DE": 128}}, "prompts 'de-DE': 128 lie outside the 128 rows"),
        ({"prompt_dictionary": {"de-DE": "x"}}, "gives 'de-DE' the row 'x'"),
        ({"supported_num_lookahead_tokens": []}, "must be a list of whole numbers"),
    ],
)  # fmt: skip
def test_front_ends_that_are_not_implemented(
    tmp_path: Path, prompted: Checkpoint, changes: dict[str, object], message: str
) -> None:
    save_checkpoint(prompted, tmp_path, "huggingface")
    edit(tmp_path / "processor_config.json", changes)
    with pytest.raises(ConfigError, match=message):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_and_empty_files(tmp_path: Path, prompted: Checkpoint, name: str) -> None:
    save_checkpoint(prompted, tmp_path, "huggingface")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(tmp_path)


def test_a_tokenizer_of_another_model(tmp_path: Path, prompted: Checkpoint) -> None:
    save_checkpoint(prompted, tmp_path, "huggingface")
    other = Tokenizer.from_sentencepiece(train("bpe", 300))
    (tmp_path / "tokenizer.json").write_text(other.to_json(), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"the tokenizer has 300 pieces, but the model emits \d+"):
        load_checkpoint(tmp_path)


def test_what_this_layout_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="d_joint 32 differs from d_pred 24"):
        save_checkpoint(make_checkpoint(d_joint=32), tmp_path, "huggingface")
    checkpoint = make_checkpoint()
    odd = replace(checkpoint, front_end={"window": torch.ones(400)})
    with pytest.raises(CheckpointError, match="window is not the standard one"):
        save_checkpoint(odd, tmp_path, "huggingface")
    standard = replace(checkpoint, front_end=LogMel(checkpoint.config).state_dict())
    save_checkpoint(standard, tmp_path, "huggingface")


def test_defaults_of_absent_keys_are_those_of_transformers(tmp_path: Path) -> None:
    """A short config.json means what transformers takes it to mean."""
    checkpoint = make_checkpoint(n_mels=80, use_bias=True, xscaling=True, n_prompts=0, d_prompt=0, default_prompt=0)
    save_checkpoint(checkpoint, tmp_path, "huggingface")
    keys = ("attention_bias", "convolution_bias", "scale_input", "conv_kernel_size", "dropout", "hidden_act")
    outer = ("num_decoder_layers", "hidden_act", "max_symbols_per_step")
    edit(tmp_path / "config.json", dict.fromkeys([f"encoder_config__{key}" for key in keys] + [*outer]), delete=True)
    theirs, ours = AutoConfig.from_pretrained(tmp_path), load_checkpoint(tmp_path).config
    assert isinstance(ours, ModelConfig)
    assert (ours.use_bias, ours.xscaling) == (theirs.encoder_config.attention_bias, theirs.encoder_config.scale_input)
    assert ours.conv_kernel == theirs.encoder_config.conv_kernel_size
    assert (ours.pred_layers, ours.max_symbols) == (theirs.num_decoder_layers, theirs.max_symbols_per_step)


def test_final_tokens_are_kept(tmp_path: Path) -> None:
    """transformers knows of none; we do when we read what we have written."""
    save_checkpoint(make_checkpoint(final_tokens=(3, 5)), tmp_path, "huggingface")
    assert load_checkpoint(tmp_path).config.final_tokens == (3, 5)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "final_tokens": [3, 10**6]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="final_tokens has 1000000; the tokens are 0"):
        load_checkpoint(tmp_path)
    save_checkpoint(make_checkpoint(), tmp_path, "huggingface")
    assert "final_tokens" not in (tmp_path / "config.json").read_text(encoding="utf-8")
