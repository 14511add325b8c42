"""Hugging Face's layout: a folder as `transformers` saves and loads it."""

from pathlib import Path
from typing import Any

import torch

from nemotron_asr.checkpoint.checkpoint import Checkpoint, dtype_of
from nemotron_asr.checkpoint.config_section import MEL_DTYPES, ConfigSection
from nemotron_asr.checkpoint.files import (
    json_writer,
    read_bytes,
    read_json,
    read_safetensors,
    safetensors_writer,
    text_writer,
    write_folder,
)
from nemotron_asr.checkpoint.names import Format, pack, unpack
from nemotron_asr.config import HOP, SAMPLE_RATE, SUBSAMPLING, ModelConfig
from nemotron_asr.errors import CheckpointError, ConfigError
from nemotron_asr.features import N_FFT, WINDOW, LogMel
from nemotron_asr.languages import PROMPTS, prompt_table
from nemotron_asr.tokenizer import Tokenizer

PROMPTED, PLAIN = "nemotron3_5_asr", "nemotron_asr_streaming"
FILES = ("config.json", "*.safetensors", "model.safetensors.index.json", "tokenizer.json", "*processor_config.json")
"""What the reader may need of a repository."""

_FRONT_END: dict[str, object] = {
    "hop_length": HOP, "n_fft": N_FFT, "sampling_rate": SAMPLE_RATE, "win_length": WINDOW, "padding_value": 0.0,
}  # fmt: skip
_ENCODER: dict[str, object] = {
    "hidden_act": "silu", "subsampling_factor": SUBSAMPLING,
    "subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2,
}  # fmt: skip
_CLASSES = {
    PROMPTED: ("Nemotron3_5AsrForRNNT", "Nemotron3_5AsrProcessor"),
    PLAIN: ("NemotronAsrStreamingForRNNT", "NemotronAsrStreamingProcessor"),
}


def read_huggingface(folder: Path) -> Checkpoint:
    """Read a folder; the weights stay memory-mapped.

    Raises:
        CheckpointError: files are missing, damaged, foreign or inconsistent.
        ConfigError: a setting that is not implemented.
    """
    model = ConfigSection(read_json(folder / "config.json"), "config.json")
    config = _config(model, *_processor(folder))
    tokenizer = Tokenizer.from_json(read_bytes(folder / "tokenizer.json"))
    return Checkpoint(config, tokenizer, unpack(read_safetensors(folder), config, Format.HUGGING_FACE))


def _processor(folder: Path) -> tuple[ConfigSection, ConfigSection]:
    """The processor's settings and the front end's, which older versions keep in a file of its own."""
    processor, front_end = folder / "processor_config.json", folder / "preprocessor_config.json"
    settings = ConfigSection(read_json(processor) if processor.exists() else {}, "processor_config.json")
    if "feature_extractor" in settings.values or not front_end.exists():
        return settings, settings.section("feature_extractor", {})
    return settings, ConfigSection(read_json(front_end), "preprocessor_config.json")


def _config(model: ConfigSection, processor: ConfigSection, front_end: ConfigSection) -> ModelConfig:
    model.require("model_type", PROMPTED, PLAIN)
    encoder = model.section("encoder_config")
    model.require("hidden_act", "relu", default="relu")
    for settings, constants in ((encoder, _ENCODER), (front_end, _FRONT_END)):
        for key, value in constants.items():
            settings.require(key, value, default=value)
    n_mels = encoder.integer("num_mel_bins", low=1)
    front_end.require("feature_size", n_mels, default=n_mels)
    use_bias = encoder.flag("attention_bias", True)
    encoder.require("convolution_bias", use_bias, default=True)
    vocab_size = model.integer("vocab_size", low=2) - 1
    model.require("blank_token_id", vocab_size)
    return ModelConfig(
        n_mels=n_mels,
        preemphasis=front_end.fraction("preemphasis", 0.0 if "preemphasis" in front_end.values else 0.97),
        mel_dtype=front_end.choice("mel_filters_dtype", *MEL_DTYPES, default="float32"),
        d_model=encoder.integer("hidden_size"),
        n_layers=encoder.integer("num_hidden_layers", high=1024),
        n_heads=encoder.integer("num_attention_heads", low=1),
        d_ff=encoder.integer("intermediate_size"),
        conv_kernel=encoder.integer("conv_kernel_size", 9, low=1),
        subsampling_channels=encoder.integer("subsampling_conv_channels", 256),
        use_bias=use_bias,
        xscaling=encoder.flag("scale_input", True),
        left_context=encoder.integer("sliding_window", low=1) - 1,
        lookaheads=_lookaheads(encoder, processor),
        vocab_size=vocab_size,
        d_pred=model.integer("decoder_hidden_size", 640),
        pred_layers=model.integer("num_decoder_layers", 2, high=64),
        d_joint=model.integer("decoder_hidden_size", 640),
        max_symbols=model.integer("max_symbols_per_step", 10),
        final_tokens=tuple(model.integers("final_tokens")) if "final_tokens" in model.values else (),
        dropout=encoder.fraction("dropout", 0.1),
        **_prompt(model, processor),
    )


def _lookaheads(encoder: ConfigSection, processor: ConfigSection) -> tuple[int, ...]:
    """The trained lookaheads, the default first; the processor is their home, the encoder knows its default."""
    default = encoder.integer("default_num_lookahead_tokens", 13)
    default = processor.integer("default_num_lookahead_tokens", default)
    trained = processor.integers("supported_num_lookahead_tokens", [default])
    return tuple(dict.fromkeys([default, *trained]))


def _prompt(model: ConfigSection, processor: ConfigSection) -> dict[str, Any]:
    if model.get("model_type") == PLAIN:
        return {"n_prompts": 0, "d_prompt": 0, "default_prompt": 0}
    rows = model.integer("num_prompts", 128, low=1)
    prompts = prompt_table(processor.section("prompt_dictionary", {}).values)
    return {
        "n_prompts": rows,
        "d_prompt": model.integer("prompt_intermediate_size", 2048, low=1),
        "default_prompt": model.integer("default_prompt_id", 101),
        "prompts": prompts or {language: row for language, row in PROMPTS.items() if row < rows},
    }


def write_huggingface(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a folder that `transformers` loads.

    Raises:
        ConfigError: a setting that this layout cannot say.
        CheckpointError: the weights are not those of the configuration.
    """
    _check_expressible(checkpoint)
    weights = pack(checkpoint.weights, checkpoint.config, Format.HUGGING_FACE)
    kind = PROMPTED if checkpoint.config.n_prompts else PLAIN
    files = {
        "model.safetensors": safetensors_writer(weights),
        "tokenizer.json": text_writer(checkpoint.tokenizer.to_json(for_transformers=True)),
        "tokenizer_config.json": json_writer(_tokenizer_config(checkpoint.tokenizer, kind)),
        "processor_config.json": json_writer(_processor_config(checkpoint.config, kind)),
        "generation_config.json": json_writer({"decoder_start_token_id": checkpoint.config.blank, "pad_token_id": 0}),
        "config.json": json_writer(_model_config(checkpoint, kind)),
    }
    write_folder(folder, files)


def _check_expressible(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    if config.d_pred != config.d_joint:
        raise ConfigError(
            f"d_joint {config.d_joint} differs from d_pred {config.d_pred}; in this layout they are equal"
        )
    standard = LogMel(config).state_dict()
    for name, tensor in checkpoint.front_end.items():
        if not torch.allclose(tensor.float(), standard[name], atol=1e-5):
            raise CheckpointError(f"the front end's {name} is not the standard one, and this layout cannot carry it")


def _model_config(checkpoint: Checkpoint, kind: str) -> dict[str, Any]:
    config = checkpoint.config
    encoder = {
        "model_type": "nemotron_asr_streaming_encoder",
        **_ENCODER,
        "num_mel_bins": config.n_mels,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_heads,
        "intermediate_size": config.d_ff,
        "conv_kernel_size": config.conv_kernel,
        "subsampling_conv_channels": config.subsampling_channels,
        "attention_bias": config.use_bias,
        "convolution_bias": config.use_bias,
        "scale_input": config.xscaling,
        "sliding_window": config.left_context + 1,
        "default_num_lookahead_tokens": config.lookaheads[0],
        **dict.fromkeys(("dropout", "activation_dropout", "attention_dropout"), config.dropout),
        "layerdrop": 0.0,
    }
    prompt = {
        "num_prompts": config.n_prompts,
        "prompt_intermediate_size": config.d_prompt,
        "default_prompt_id": config.default_prompt,
    }
    return {
        "model_type": kind,
        "architectures": [_CLASSES[kind][0]],
        "dtype": str(dtype_of(checkpoint.weights)).removeprefix("torch."),
        "encoder_config": encoder,
        "vocab_size": config.vocab_size + 1,
        "blank_token_id": config.blank,
        "pad_token_id": 0,
        "decoder_hidden_size": config.d_pred,
        "num_decoder_layers": config.pred_layers,
        "hidden_act": "relu",
        "max_symbols_per_step": config.max_symbols,
        **({"final_tokens": list(config.final_tokens)} if config.final_tokens else {}),  # ours: transformers has none
        "is_encoder_decoder": True,
        **(prompt if config.n_prompts else {}),
    }


def _processor_config(config: ModelConfig, kind: str) -> dict[str, Any]:
    front_end = {
        "feature_extractor_type": "NemotronAsrStreamingFeatureExtractor",
        **_FRONT_END,
        "feature_size": config.n_mels,
        "mel_filters_dtype": config.mel_dtype,
        "preemphasis": config.preemphasis,
        "padding_side": "right",
        "return_attention_mask": True,
    }
    prompt = {"num_prompts": config.n_prompts, "prompt_dictionary": dict(config.prompts or PROMPTS)}
    return {
        "processor_class": _CLASSES[kind][1],
        "feature_extractor": front_end,
        "blank_token": "<blank>",
        "supported_num_lookahead_tokens": list(config.lookaheads),
        "default_num_lookahead_tokens": config.lookaheads[0],
        **(prompt if config.n_prompts else {}),
    }


def _tokenizer_config(tokenizer: Tokenizer, kind: str) -> dict[str, Any]:
    unknown = {} if tokenizer.unknown is None else {"unk_token": tokenizer.piece(tokenizer.unknown)}
    return {
        "tokenizer_class": "ParakeetTokenizer",
        "processor_class": _CLASSES[kind][1],
        "clean_up_tokenization_spaces": False,
        "pad_token": "<pad>",
        **unknown,
    }
