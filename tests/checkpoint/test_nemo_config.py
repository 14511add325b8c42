"""NeMo's configuration: everything that changes the computation is read or refused."""

import tarfile
from copy import deepcopy
from typing import Any

import pytest
import yaml

from nemotron_asr.checkpoint.config_section import ConfigSection
from nemotron_asr.checkpoint.nemo_config import read_config, write_config
from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import ConfigError
from tests.checkpoint.conftest import TINY_NEMO

RELEASED = ModelConfig(prompts={"en-US": 0, "auto": 101})
ENGLISH = ModelConfig(
    n_prompts=0, d_prompt=0, default_prompt=0, vocab_size=1024, left_context=70, lookaheads=(13, 6, 1, 0)
)


@pytest.fixture(scope="module")
def tiny() -> dict[str, Any]:
    with tarfile.open(TINY_NEMO) as tar:
        member = tar.extractfile("./model_config.yaml")
        assert member is not None
        document: dict[str, Any] = yaml.safe_load(member)
        return document


def changed(document: dict[str, Any], changes: dict[str, object]) -> ConfigSection:
    """A copy with `section.key` changed."""
    document = deepcopy(document)
    for path, value in changes.items():
        *outer, last = path.split(".")
        inner = document
        for name in outer:
            inner = inner[name]
        inner[last] = value
    return ConfigSection(document, "model_config.yaml")


@pytest.mark.parametrize("config", [RELEASED, ENGLISH, ModelConfig(use_bias=True, xscaling=True, preemphasis=0.0)])
def test_there_and_back(config: ModelConfig) -> None:
    written = write_config(config, ["x"] * config.vocab_size, {"model_path": "nemo:x"})
    again = read_config(ConfigSection(yaml.safe_load(yaml.safe_dump(written)), "x"))
    expected = config if config.prompts or not config.n_prompts else again
    assert again == expected
    assert (again.use_bias, again.xscaling, again.preemphasis) == (config.use_bias, config.xscaling, config.preemphasis)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"encoder.att_context_size": [70, 13]}, "lookaheads", (13,)),
        ({"encoder.att_context_size": [[70, 1], [70, 0]]}, "left_context", 70),
        ({"encoder.subsampling_conv_channels": -1}, "subsampling_channels", 64),
        ({"encoder.use_bias": None}, "use_bias", True),
        ({"encoder.xscaling": None}, "xscaling", True),
        ({"encoder.conv_kernel_size": 5}, "conv_kernel", 5),
        ({"preprocessor.normalize": None}, "n_mels", 128),
        ({"preprocessor.preemph": 0.9}, "preemphasis", 0.9),
        ({"preprocessor.preemph": None}, "preemphasis", 0.0),
        ({"decoding.greedy": {"max_symbols": 7}}, "max_symbols", 7),
        ({"decoding": {}}, "max_symbols", 10),
        ({"model_defaults.prompt_dictionary": {False: 27, "auto": 3}}, "prompts", {"no": 27, "auto": 3}),
        ({"model_defaults.prompt_dictionary": {"de": 3}}, "default_prompt", 101),
        ({"model_defaults.prompt_dictionary": {"de": 3}, "model_defaults.num_prompts": 9}, "default_prompt", 0),
    ],
)  # fmt: skip
def test_values(tiny: dict[str, Any], changes: dict[str, object], field: str, value: object) -> None:
    assert getattr(read_config(changed(tiny, changes)), field) == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "nemo.collections.asr.models.ctc_models.EncDecCTCModel"}, r"target = 'nemo.*' is not supp"),
        ({"target": None}, "target = None is not supported"),
        ({"preprocessor.normalize": "per_feature"}, "normalize = 'per_feature' is not supported; supported: 'NA'"),
        ({"preprocessor.window_size": 0.02}, r"window_size = 0.02 is not supported; supported: 0.025"),
        ({"preprocessor.window": "hamming"}, "window = 'hamming' is not supported; supported: 'hann'"),
        ({"preprocessor.sample_rate": 8000}, "sample_rate = 8000 is not supported; supported: 16000"),
        ({"preprocessor.mel_norm": None}, "mel_norm = None is not supported"),
        ({"preprocessor.features": 80}, "feat_in = 128 is not supported; supported: 80"),
        ({"encoder.subsampling": "striding"}, "subsampling = 'striding' is not supported; supported: 'dw_striding'"),
        ({"encoder.subsampling_factor": 4}, "subsampling_factor = 4 is not supported; supported: 8"),
        ({"encoder.causal_downsampling": False}, "causal_downsampling = False is not supported; supported: True"),
        ({"encoder.att_context_style": "regular"}, "att_context_style = 'regular' is not supported; supp"),
        ({"encoder.att_context_size": [-1, -1]}, r"att_context_size = \[-1, -1\] must be a list of whole numbers"),
        ({"encoder.att_context_size": [[56, 0], [70, 0]]}, r"the left contexts \[56, 70\]; one is supported"),
        ({"encoder.att_context_size": [[56, 0, 1]]}, r"must be \[left, right\]"),
        ({"encoder.att_context_size": []}, "must be a list of whole numbers"),
        ({"encoder.att_context_size": [9999, 0]}, "left_context is 9999; it must be at most 4096"),
        ({"decoding.greedy": {"max_symbols": 2000}}, "max_symbols is 2000; it must be at most 1000"),
        ({"encoder.conv_norm_type": "batch_norm"}, "conv_norm_type = 'batch_norm' is not supported; supp"),
        ({"encoder.conv_context_size": None}, "conv_context_size = None is not supported; supported: 'causal'"),
        ({"encoder.self_attention_model": "abs_pos"}, "self_attention_model = 'abs_pos' is not supported"),
        ({"encoder.untie_biases": False}, "untie_biases = False is not supported; supported: True"),
        ({"encoder.reduction": "pooling"}, "reduction = 'pooling' is not supported; supported: None"),
        ({"encoder.n_layers": 10**7}, "n_layers = 10000000 must be a whole number from 0 to 1024"),
        ({"encoder.d_model": "wide"}, "d_model = 'wide' must be a whole number"),
        ({"decoder._target_": "nemo.collections.asr.modules.StatelessTransducerDecoder"}, "_target_ = 'nemo"),
        ({"decoder.normalization_mode": "layer"}, "normalization_mode = 'layer' is not supported"),
        ({"joint.jointnet.activation": "tanh"}, "activation = 'tanh' is not supported; supported: 'relu'"),
        ({"joint.num_extra_outputs": 5}, "num_extra_outputs = 5 is not supported; supported: 0"),
        ({"joint.num_classes": 9}, "vocabulary has 256 pieces, num_classes says 9"),
        ({"tokenizer.type": "wpe"}, "type = 'wpe' is not supported; supported: 'bpe'"),
        ({"tokenizer": {"type": "agg", "langs": {}}}, "type = 'agg' is not supported; supported: 'bpe'"),
        ({"encoder": [1]}, r"encoder is \[1\]; it must be a mapping"),
        ({"model_defaults": {}}, "model_defaults has no num_prompts"),
        ({"model_defaults.prompt_dictionary": {"de": -1}}, "gives 'de' the row -1"),
    ],
)  # fmt: skip
def test_what_is_not_implemented_is_named(tiny: dict[str, Any], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        read_config(changed(tiny, changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(d_ff=1025), "d_ff 1025 is not a multiple of d_model 1024"),
        (ModelConfig(d_prompt=1024), "d_prompt 1024 is not twice d_model 1024"),
        (ModelConfig(default_prompt=5), "default_prompt 5 is not that of 'auto', 101"),
        (ModelConfig(default_prompt=1, prompts={"de": 0, "en": 1}), "default_prompt 1 is not that of 'auto', 101"),
        (ModelConfig(n_prompts=2, default_prompt=1, prompts={"de": 0, "en": 1}), "default_prompt 1 .* 'auto', 0"),
    ],
)
def test_what_nemo_cannot_express(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^NeMo's layout cannot hold this model: {message}"):
        write_config(config, [], {})
