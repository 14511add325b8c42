"""One random model in two implementations, transformers' and ours, talking about as much as speech does."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    Nemotron3_5AsrConfig,
    Nemotron3_5AsrForRNNT,
    NemotronAsrStreamingConfig,
    NemotronAsrStreamingEncoderConfig,
    NemotronAsrStreamingFeatureExtractor,
)

from nemotron_asr.benchmark.random_model import centre, set_blank
from nemotron_asr.checkpoint import place_weights, skeleton
from nemotron_asr.checkpoint.int8 import MATRICES
from nemotron_asr.checkpoint.names import Format, unpack
from nemotron_asr.config import SAMPLE_RATE, ModelConfig
from nemotron_asr.engine.building import make_runner
from nemotron_asr.engine.quantize import quantize
from nemotron_asr.engine.runner import Runner
from nemotron_asr.features import LogMel

PROMPT = 101
"""`auto`, for both."""

MAX_SYMBOLS = 2
"""Tokens in one frame at most, for a random model does not know when to stop."""


@dataclass(frozen=True)
class Pair:
    """The same weights twice; where both keep a tensor in the same shape and type, it is the same memory."""

    theirs: Any
    ours: Runner

    def to_bfloat16(self) -> "Pair":
        """The same model in bfloat16. Buffers stay as `from_pretrained` leaves them: in float32."""
        for parameter in self.theirs.parameters():
            parameter.data = parameter.data.bfloat16()
        return Pair(self.theirs, as_ours(self.theirs, self.ours.model.config))

    def to_int8(self) -> "Pair":
        """Ours quantised, theirs as it is."""
        model = skeleton(self.ours.model.config)
        weights = {name: tensor.data for name, tensor in self.ours.model.state_dict().items()}
        place_weights(model, weights, torch.device("cpu"), torch.float32, untouched=MATRICES)
        quantize(model)
        return Pair(self.theirs, make_runner(model.requires_grad_(requires_grad=False), LogMel(model.config)))

    def attune(self, audio: NDArray[np.float32], lookahead: int) -> None:
        """Make the model talk: what the joint hears is centred and scaled, and the bias of blank chosen."""
        theirs, ours = self.theirs, self.ours.model
        extract = NemotronAsrStreamingFeatureExtractor(feature_size=ours.config.n_mels)
        inputs = extract(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        heard, prompt = inputs["input_features"].to(theirs.dtype), torch.tensor([PROMPT])
        heard = theirs.get_audio_features(heard, num_lookahead_tokens=lookahead, prompt_ids=prompt)
        centre(theirs.encoder_projector, heard.pooler_output)
        set_blank(ours.transducer, ours.prompt(heard.last_hidden_state, prompt))


def theirs_config(config: ModelConfig) -> Any:
    """Our configuration in transformers' words."""
    encoder = NemotronAsrStreamingEncoderConfig(
        hidden_size=config.d_model,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        intermediate_size=config.d_ff,
        subsampling_conv_channels=config.subsampling_channels,
        num_mel_bins=config.n_mels,
        conv_kernel_size=config.conv_kernel,
        sliding_window=config.left_context + 1,
        scale_input=config.xscaling,
        attention_bias=config.use_bias,
        convolution_bias=config.use_bias,
    )
    shared = {
        "vocab_size": config.vocab_size + 1,
        "blank_token_id": config.blank,
        "decoder_hidden_size": config.d_pred,
        "num_decoder_layers": config.pred_layers,
        "max_symbols_per_step": config.max_symbols,
        "encoder_config": encoder.to_dict(),
    }
    if not config.n_prompts:
        return NemotronAsrStreamingConfig(**shared)
    return Nemotron3_5AsrConfig(
        **shared,
        num_prompts=config.n_prompts,
        default_prompt_id=config.default_prompt,
        prompt_intermediate_size=config.d_prompt,
    )


def make_pair(layers: int) -> Pair:
    """A random model of the released model's width and vocabulary, in float32."""
    config = replace(ModelConfig(), n_layers=layers, max_symbols=MAX_SYMBOLS)
    theirs = _random_theirs(config)
    return Pair(theirs, as_ours(theirs, config))


def as_ours(theirs: Any, config: ModelConfig) -> Runner:
    """Our model around transformers' weights; the prompt in float32, as `load` keeps it."""
    model = skeleton(config)
    model.load_state_dict(unpack(theirs.state_dict(), config, Format.HUGGING_FACE), assign=True)
    model.prompt.float()
    return Runner(model.requires_grad_(requires_grad=False), LogMel(config))


def _random_theirs(config: ModelConfig) -> Any:
    model = Nemotron3_5AsrForRNNT(theirs_config(config)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(generator=generator).mul_(parameter[0].numel() ** -0.5)
    model.decoder.embedding.weight.mul_(config.d_pred**0.5)[config.blank] = 0
    generation = model.generation_config
    generation.decoder_start_token_id = generation.pad_token_id = generation.bos_token_id = config.blank
    return model
