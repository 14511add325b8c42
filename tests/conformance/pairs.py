"""Random models of transformers, and ours with the same weights."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Nemotron3_5AsrForRNNT,
    NemotronAsrStreamingForRNNT,
)

from nemotron_asr.benchmark.pair import theirs_config
from nemotron_asr.checkpoint.names import Format, unpack
from nemotron_asr.config import ModelConfig
from nemotron_asr.decoding.greedy import initial_state
from nemotron_asr.model import NemotronASR

LOOKAHEADS = [0, 1, 3, 6, 13]

# Several shapes: both models, biases and scaling both ways, left contexts that some chunks do not divide.
CONFIGS = {
    "prompted": ModelConfig(
        n_mels=32, d_model=64, n_layers=3, n_heads=4, d_ff=128, subsampling_channels=16, left_context=56, n_prompts=8,
        default_prompt=3, d_prompt=96, vocab_size=30, d_pred=24, d_joint=24, max_symbols=3,
    ),
    "biased": ModelConfig(
        n_mels=80, d_model=48, n_layers=2, n_heads=2, d_ff=80, subsampling_channels=8, left_context=14, n_prompts=5,
        default_prompt=1, d_prompt=32, vocab_size=17, d_pred=16, d_joint=16, max_symbols=2, use_bias=True,
        xscaling=True, conv_kernel=5, pred_layers=1,
    ),
    "english": ModelConfig(
        n_mels=64, d_model=32, n_layers=2, n_heads=4, d_ff=64, subsampling_channels=12, left_context=70, n_prompts=0,
        vocab_size=40, d_pred=20, d_joint=20,
    ),
    "scaled": ModelConfig(
        n_mels=128, d_model=40, n_layers=1, n_heads=1, d_ff=120, subsampling_channels=4, left_context=28, n_prompts=128,
        d_prompt=64, vocab_size=64, d_pred=32, d_joint=32, max_symbols=10, xscaling=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One set of weights in two implementations."""

    theirs: Any
    ours: NemotronASR

    def features(self, mel: Tensor, lengths: Tensor, prompt: Tensor, lookahead: int) -> Any:
        """What transformers computes: `last_hidden_state`, and `pooler_output` (prompted and projected)."""
        mask = torch.arange(mel.shape[1])[None] < lengths[:, None]
        prompted = {"prompt_ids": prompt} if self.ours.config.n_prompts else {}
        return self.theirs.get_audio_features(mel, attention_mask=mask, num_lookahead_tokens=lookahead, **prompted)

    def tokens(self, mel: Tensor, length: int, prompt: int, lookahead: int) -> list[int]:
        """What transformers says to one utterance; in a batch it decodes shorter ones beyond their end."""
        prompted = {"prompt_ids": torch.tensor([prompt])} if self.ours.config.n_prompts else {}
        said = self.theirs.generate(
            input_features=mel[None, :length],
            attention_mask=torch.ones(1, length, dtype=torch.bool),
            num_lookahead_tokens=lookahead,
            max_new_tokens=5000,
            **prompted,
        )
        return [token for token in said.sequences[0].tolist() if token != self.ours.config.blank]


def random_theirs(config: ModelConfig, seed: int = 0) -> Any:
    """A random model of transformers, in float64, with weights that make it talk a token in every few frames."""
    kind = Nemotron3_5AsrForRNNT if config.n_prompts else NemotronAsrStreamingForRNNT
    model = kind(theirs_config(config)).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        scale = 0.3 if parameter.dim() < 2 else parameter.shape[-1] ** -0.5
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    model.decoder.embedding.weight.mul_(3)[config.blank] = 0
    model.encoder_projector.weight.mul_(20)
    model.joint.head.bias.zero_()
    generation = model.generation_config
    generation.decoder_start_token_id = generation.pad_token_id = generation.bos_token_id = config.blank
    return model


def make_pair(config: ModelConfig, dtype: torch.dtype = torch.float64) -> Pair:
    """A random model of this configuration in both implementations."""
    theirs = random_theirs(config)
    ours = NemotronASR(config).to(dtype).eval().requires_grad_(requires_grad=False)
    ours.load_state_dict(unpack(theirs.state_dict(), config, Format.HUGGING_FACE))
    projection, blank = _lively(ours)
    ours.transducer.enc.bias.copy_(projection)
    theirs.encoder_projector.bias.copy_(projection)
    ours.transducer.head.bias[config.blank] = theirs.joint.head.bias[config.blank] = blank
    return Pair(theirs.to(dtype), ours)


def _lively(model: NemotronASR) -> tuple[Tensor, float]:
    """Biases that make a random model speak, and of what it hears: of the projection (centred), and of the blank."""
    generator = torch.Generator().manual_seed(2)
    mel = torch.randn(1, 400, model.config.n_mels, generator=generator).mul(4).to(model.transducer.head.bias.dtype)
    frames, _ = model.encoder(mel, torch.tensor([400]), model.encoder.initial_state(1, history=0), 4)
    enc = model.transducer.project(model.prompt(frames, torch.tensor([0])))
    centre = enc.mean((0, 1))
    logits = model.transducer.joint(enc - centre, initial_state(model.transducer, 1).out[:, None])
    silence = logits[..., model.config.blank]
    best = logits[..., : model.config.blank].max(-1).values
    return model.transducer.enc.bias - centre, float((best - silence).quantile(0.7))
