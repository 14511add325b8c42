"""NeMo's `model_config.yaml` <-> `ModelConfig`; what is not implemented is refused by name."""

from collections.abc import Mapping
from typing import Any

from nemotron_asr.checkpoint.config_section import MAX_SIZE, ConfigSection
from nemotron_asr.config import SAMPLE_RATE, SUBSAMPLING, ModelConfig
from nemotron_asr.errors import ConfigError
from nemotron_asr.features import N_FFT
from nemotron_asr.languages import AUTO, PROMPTS, prompt_table

_MODELS = "nemo.collections.asr.models"
_MODULES = "nemo.collections.asr.modules"
PLAIN = f"{_MODELS}.rnnt_bpe_models.EncDecRNNTBPEModel"
PROMPTED = f"{_MODELS}.rnnt_bpe_models_prompt.EncDecRNNTBPEModelWithPrompt"

_PREEMPHASIS = 0.97  # where the file does not say

# Section -> key -> what an absent key means to NeMo, then the values that are implemented.
_ONLY: dict[str, dict[str, tuple[object, ...]]] = {
    "preprocessor": {
        "_target_": (None, f"{_MODULES}.AudioToMelSpectrogramPreprocessor"),
        "sample_rate": (SAMPLE_RATE, SAMPLE_RATE),
        "normalize": ("per_feature", "NA", "None", None),
        "window_size": (0.02, 0.025),
        "window_stride": (0.01, 0.01),
        "window": ("hann", "hann"),
        "n_fft": (N_FFT, N_FFT),
        "lowfreq": (0, 0),
        "highfreq": (None, None, SAMPLE_RATE // 2),
        "log": (True, True),
        "log_zero_guard_type": ("add", "add"),
        "log_zero_guard_value": (2.0**-24, 2.0**-24),
        "frame_splicing": (1, 1),
        "exact_pad": (False, False),
        "pad_value": (0, 0),
        "mag_power": (2.0, 2.0),
        "mel_norm": ("slaney", "slaney"),
    },
    "encoder": {
        "_target_": (None, f"{_MODULES}.ConformerEncoder"),
        "feat_out": (-1, -1),
        "subsampling": ("striding", "dw_striding"),
        "subsampling_factor": (4, SUBSAMPLING),
        "causal_downsampling": (False, True),
        "reduction": (None, None),
        "self_attention_model": ("rel_pos", "rel_pos"),
        "att_context_style": ("regular", "chunked_limited"),
        "untie_biases": (True, True),
        "conv_norm_type": ("batch_norm", "layer_norm"),
        "conv_context_size": (None, "causal"),
        "global_tokens": (0, 0),
    },
    "decoder": {
        "_target_": (None, f"{_MODULES}.RNNTDecoder"),
        "normalization_mode": (None, None),
        "blank_as_pad": (True, True),
    },
    "joint": {"_target_": (None, f"{_MODULES}.RNNTJoint"), "num_extra_outputs": (0, 0)},
    "tokenizer": {"type": (None, "bpe")},
}

# What NeMo's own files leave unsaid; readers of them stumble over keys that they do not expect.
_UNSAID = {
    "lowfreq", "highfreq", "log", "log_zero_guard_type", "log_zero_guard_value", "exact_pad", "pad_value", "mag_power",
    "mel_norm", "global_tokens", "num_extra_outputs",
}  # fmt: skip


def read_config(root: ConfigSection) -> ModelConfig:
    """The configuration that a `model_config.yaml` describes.

    Raises:
        ConfigError: a value is missing, wrong, or not implemented.
    """
    root.require("target", PROMPTED, PLAIN)
    for name, rules in _ONLY.items():
        for key, (default, *supported) in rules.items():
            root.section(name).require(key, *supported, default=default)
    front_end, encoder, joint = root.section("preprocessor"), root.section("encoder"), root.section("joint")
    prednet, jointnet = root.section("decoder").section("prednet"), joint.section("jointnet")
    jointnet.require("activation", "relu", default="relu")
    n_mels = front_end.integer("features", 64)
    encoder.require("feat_in", n_mels)
    d_model = encoder.integer("d_model", low=1)
    left, lookaheads = _contexts(encoder)
    return ModelConfig(
        n_mels=n_mels,
        preemphasis=front_end.fraction("preemph", 0.0 if "preemph" in front_end.values else _PREEMPHASIS),
        d_model=d_model,
        n_layers=encoder.integer("n_layers", high=1024),
        n_heads=encoder.integer("n_heads", 4, low=1),
        d_ff=d_model * encoder.integer("ff_expansion_factor", 4, high=64),
        conv_kernel=encoder.integer("conv_kernel_size", 31, low=1),
        subsampling_channels=_channels(encoder, d_model),
        use_bias=encoder.flag("use_bias", True),
        xscaling=encoder.flag("xscaling", True),
        left_context=left,
        lookaheads=lookaheads,
        vocab_size=_vocabulary(joint),
        d_pred=prednet.integer("pred_hidden"),
        pred_layers=prednet.integer("pred_rnn_layers", high=64),
        d_joint=jointnet.integer("joint_hidden"),
        max_symbols=_max_symbols(root),
        dropout=encoder.fraction("dropout", 0.1),
        **_prompt(root, d_model),
    )


def _contexts(encoder: ConfigSection) -> tuple[int, tuple[int, ...]]:
    """The past that attention sees, and the lookaheads; the first pair is the default."""
    value = encoder.get("att_context_size")
    pairs = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    sections = [ConfigSection({"att_context_size": pair}, encoder.where).integers("att_context_size") for pair in pairs]
    if any(len(pair) != 2 for pair in sections):
        raise ConfigError(f"{encoder.where}: att_context_size = {value} must be [left, right] or a list of such pairs")
    lefts = {left for left, _ in sections}
    if len(lefts) > 1:
        raise ConfigError(f"{encoder.where}: att_context_size has the left contexts {sorted(lefts)}; one is supported")
    return lefts.pop(), tuple(dict.fromkeys(right for _, right in sections))


def _channels(encoder: ConfigSection, d_model: int) -> int:
    if encoder.get("subsampling_conv_channels", -1) == -1:
        return d_model
    return encoder.integer("subsampling_conv_channels", low=1)


def _vocabulary(joint: ConfigSection) -> int:
    words = joint.get("vocabulary", [])
    size = joint.integer("num_classes", len(words) if isinstance(words, list) else 0, high=MAX_SIZE)
    if words and len(words) != size:
        raise ConfigError(f"{joint.where}: vocabulary has {len(words)} pieces, num_classes says {size}")
    return size


def _max_symbols(root: ConfigSection) -> int:
    """The greedy limit, which NeMo has called by two names."""
    greedy = root.section("decoding", {}).section("greedy", {})
    return greedy.integer("max_symbols", greedy.get("max_symbols_per_step", 10))


def _prompt(root: ConfigSection, d_model: int) -> dict[str, Any]:
    if root.get("target") == PLAIN:
        return {"n_prompts": 0, "d_prompt": 0, "default_prompt": 0}
    defaults = root.section("model_defaults")
    rows = defaults.integer("num_prompts", low=1)
    prompts = prompt_table(defaults.section("prompt_dictionary").values)
    return {
        "n_prompts": rows,
        "d_prompt": 2 * d_model,  # NeMo has no setting for it
        "default_prompt": _default_prompt(rows, prompts),
        "prompts": prompts,
    }


def _default_prompt(rows: int, prompts: Mapping[str, int]) -> int:
    """That of `AUTO`; where the table does not have it, the released model's, if there are as many rows."""
    return prompts.get(AUTO, PROMPTS[AUTO] if rows > PROMPTS[AUTO] else 0)


def write_config(config: ModelConfig, vocabulary: list[str], tokenizer: dict[str, str]) -> dict[str, Any]:
    """The document of a `model_config.yaml`.

    Args:
        config: the architecture.
        vocabulary: the pieces in the order of their ids.
        tokenizer: which member of the archive is which of its files.

    Raises:
        ConfigError: a value that NeMo cannot express.
    """
    _check_expressible(config)
    constants = {
        name: {key: values[1] for key, values in rules.items() if key not in _UNSAID} for name, rules in _ONLY.items()
    }
    preemphasis = {} if config.preemphasis == _PREEMPHASIS else {"preemph": config.preemphasis}
    return {
        "target": PROMPTED if config.n_prompts else PLAIN,
        "sample_rate": SAMPLE_RATE,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "model_defaults": _model_defaults(config),
        "tokenizer": {"dir": "tokenizer", "type": "bpe", **tokenizer},
        "preprocessor": {**constants["preprocessor"], **preemphasis, "features": config.n_mels,
                         "dither": 1e-5, "pad_to": 0},
        "spec_augment": {"_target_": f"{_MODULES}.SpectrogramAugmentation", "freq_masks": 2, "time_masks": 10,
                         "freq_width": 27, "time_width": 0.05},
        "encoder": {**constants["encoder"], **_encoder(config)},
        "decoder": {**constants["decoder"], "random_state_sampling": False, "vocab_size": config.vocab_size,
                    "prednet": {"pred_hidden": config.d_pred, "pred_rnn_layers": config.pred_layers, "t_max": None,
                                "dropout": 0.2}},
        "joint": _joint(config, vocabulary),
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols_per_step": config.max_symbols}},
        "loss": {"loss_name": "default", "warprnnt_numba_kwargs": {"fastemit_lambda": 0.005, "clamp": -1.0}},
        "optim": {"name": "adamw", "lr": 2.0, "betas": [0.9, 0.98], "weight_decay": 1e-3,
                  "sched": {"name": "NoamAnnealing", "d_model": config.d_model, "warmup_steps": 10_000,
                            "min_lr": 1e-6}},
        "labels": vocabulary,
        **({"num_prompts": config.n_prompts} if config.n_prompts else {}),
        "nemo_version": "3.0.0",
    }  # fmt: skip


def _check_expressible(config: ModelConfig) -> None:
    if why := _obstacle(config):
        raise ConfigError(f"NeMo's layout cannot hold this model: {why}")


def _obstacle(config: ModelConfig) -> str:
    """What of a model NeMo cannot express, if anything."""
    if config.d_ff % config.d_model:
        return f"d_ff {config.d_ff} is not a multiple of d_model {config.d_model}; NeMo's is"
    if config.n_prompts and config.d_prompt != 2 * config.d_model:
        return f"d_prompt {config.d_prompt} is not twice d_model {config.d_model}; NeMo's is"
    if config.final_tokens:
        return "the predictor starts anew behind final_tokens, which NeMo's does not"
    auto = _default_prompt(config.n_prompts, config.prompts or PROMPTS)
    if config.n_prompts and config.default_prompt != auto:
        return f"default_prompt {config.default_prompt} is not that of {AUTO!r}, {auto}; NeMo's is"
    return ""


def _model_defaults(config: ModelConfig) -> dict[str, Any]:
    sizes = {"enc_hidden": config.d_model, "pred_hidden": config.d_pred, "joint_hidden": config.d_joint}
    if not config.n_prompts:
        return sizes
    prompts = dict(config.prompts or PROMPTS)
    return {**sizes, "initialize_prompt_feature": True, "num_prompts": config.n_prompts, "prompt_dictionary": prompts}


def _encoder(config: ModelConfig) -> dict[str, Any]:
    return {
        "feat_in": config.n_mels,
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "use_bias": config.use_bias,
        "subsampling_conv_channels": config.subsampling_channels,
        "reduction_position": None,
        "reduction_factor": 1,
        "ff_expansion_factor": config.d_ff // config.d_model,
        "n_heads": config.n_heads,
        "att_context_size": [[config.left_context, lookahead] for lookahead in config.lookaheads],
        "att_context_probs": None,
        "xscaling": config.xscaling,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": config.conv_kernel,
        **dict.fromkeys(("dropout", "dropout_pre_encoder", "dropout_att"), config.dropout),
        "dropout_emb": 0.0,
    }


def _joint(config: ModelConfig, vocabulary: list[str]) -> dict[str, Any]:
    return {
        "_target_": f"{_MODULES}.RNNTJoint",
        "log_softmax": None,
        "preserve_memory": False,
        "fuse_loss_wer": True,
        "fused_batch_size": 2,
        "jointnet": {"joint_hidden": config.d_joint, "activation": "relu", "dropout": 0.2,
                     "encoder_hidden": config.d_model, "pred_hidden": config.d_pred},
        "num_classes": config.vocab_size,
        "vocabulary": vocabulary,
    }  # fmt: skip
