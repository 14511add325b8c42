"""A model of the released one's size with random weights, for speed does not depend on what they are.

What does matter is how much the decoder has to say. The blank's bias is set so that about 0.3 tokens come out of a
frame, which is what fluent speech has, and what the joint hears is scaled so that the audio decides when.
"""

from typing import Any

import tokenizers
import torch
from tokenizers.models import Unigram
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.checkpoint import Checkpoint
from nemotron_asr.config import ModelConfig
from nemotron_asr.decoding.greedy import greedy, initial_state
from nemotron_asr.engine.stream import UNKNOWN_END, Stream, Target
from nemotron_asr.features import LogMel, mel_frames, window_start
from nemotron_asr.model import NemotronASR, Transducer
from nemotron_asr.tokenizer import Tokenizer

TOKENS_PER_FRAME = 0.3
"""Three to four pieces a second."""

SPREAD = 4.0
"""Standard deviation of what the joint hears of the audio."""

LOCAL = 0.1
"""How much of a random block's output comes from attention, which averages: or all frames would soon be alike."""

QUIET = 0.1
"""How much the predictor has to say in the joint."""

RELEASED = ModelConfig(max_symbols=1)
"""The released model's size; one token a frame at most, for a random model does not know when to stop."""


def random_checkpoint(speech: Samples, config: ModelConfig = RELEASED, seed: int = 0) -> Checkpoint:
    """Random weights in float32, the same for the same seed.

    Args:
        speech: a few seconds at 16 kHz, by which the talkativeness is set.
        config: the model's size.
        seed: of the weights.
    """
    model = _random(config, seed)
    with torch.inference_mode():
        _attune(model, speech)
    pieces = [("<unk>", 0.0), *((f"▁{i}", -1.0) for i in range(1, config.vocab_size))]
    tokenizer = Tokenizer(tokenizers.Tokenizer(Unigram(pieces, unk_id=0)))
    return Checkpoint(config, tokenizer, dict(model.state_dict()))


def _random(config: ModelConfig, seed: int) -> NemotronASR:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the biases, which stay as they are made
        model = NemotronASR(config).eval().requires_grad_(requires_grad=False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(generator=generator).mul_(parameter[0].numel() ** -0.5)
    for name, parameter in model.named_parameters():
        if name.endswith("attention.out.weight"):
            parameter.mul_(LOCAL)
    model.transducer.embed.weight.mul_(config.d_pred**0.5)[config.blank] = 0
    model.transducer.pred.weight.mul_(QUIET)  # what was said must not decide what is said, or it never ends
    return model


def _attune(model: NemotronASR, speech: Samples) -> None:
    """Centre and scale what the joint hears, at the shortest and at the longest latency, and choose blank's bias."""
    fused = torch.cat([_fused(model, speech, chunk) for chunk in (1, 14)], dim=1)
    centre(model.transducer.enc, model.transducer.project(fused))
    set_blank(model.transducer, fused)


def _fused(model: NemotronASR, speech: Samples, chunk: int) -> Tensor:
    """Encoder frames (1, T, d_model) of some speech, heard at once."""
    prompt = model.config.default_prompt
    stream = Stream(0, Target(prompt, ""), chunk)
    stream.feed(speech)
    frames = stream.frames_within(len(speech)) // chunk * chunk
    window, start = torch.from_numpy(stream.window(frames))[None], torch.tensor([window_start(0)])
    mel = LogMel(model.config)(window, start, torch.tensor([UNKNOWN_END]))
    state = model.encoder.initial_state(1)
    encoded, _ = model.encoder(mel, torch.tensor([mel_frames(UNKNOWN_END)]), state, chunk)
    fused: Tensor = model.prompt(encoded, torch.tensor([prompt]))
    return fused


def centre(projector: Any, projected: Tensor) -> None:
    """Centre and scale a projection, given what it makes of some audio: (1, T, d_joint)."""
    spread, mean = torch.std_mean(projected[0], dim=0)
    projector.weight.mul_((SPREAD / spread)[:, None])
    projector.bias.sub_(mean).mul_(SPREAD / spread)


def set_blank(transducer: Transducer, frames: Tensor) -> None:
    """Find the bias of blank that gives about `TOKENS_PER_FRAME`, by bisection."""
    state, valid, blank = initial_state(transducer, 1), torch.tensor([frames.shape[1]]), transducer.config.blank
    bias = transducer.head.bias.zero_()
    best = transducer.joint(transducer.project(frames), state.out[:, None])[..., :blank].amax(-1).float()
    low, high = float(best.min()), 2 * float(best.max())
    for _ in range(10):
        bias[blank] = middle = (low + high) / 2
        (said,), _ = greedy(transducer, frames, valid, state)
        low, high = (middle, high) if len(said) > TOKENS_PER_FRAME * frames.shape[1] else (low, middle)
