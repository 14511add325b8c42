"""The same computation as transformers, on random weights: encoder, prompt, tokens; offline, streamed, batched."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nemotron_asr.config import SUBSAMPLING
from nemotron_asr.decoding.greedy import greedy, initial_state
from nemotron_asr.model import NemotronASR, encoder_frames
from tests.conformance.pairs import CONFIGS, LOOKAHEADS, Pair, make_pair

pytestmark = [
    pytest.mark.usefixtures("no_grad"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
    pytest.mark.filterwarnings("ignore::UserWarning:transformers"),
]

LENGTHS = torch.tensor([333, 200, 9])


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> Pair:
    with torch.no_grad():
        return make_pair(CONFIGS[request.param])


def batch(model: NemotronASR) -> tuple[Tensor, Tensor]:
    """Mel frames of three utterances of unequal lengths, and their prompts."""
    generator = torch.Generator().manual_seed(1)
    frames = int(LENGTHS.max())
    mel = torch.randn(3, frames, model.config.n_mels, dtype=torch.double, generator=generator)
    mel = mel * 6 * torch.linspace(-2, 2, frames, dtype=torch.double).sin()[None, :, None]
    mel = mel * (torch.arange(frames)[None] < LENGTHS[:, None])[..., None]
    prompts = torch.tensor([3, 1, 4]) % max(1, model.config.n_prompts)
    return mel.to(model.transducer.head.bias.dtype), prompts


def padded(mel: Tensor, frames: int) -> Tensor:
    """From frame -7 to a whole number of encoder frames; garbage before zero and after the end must not matter."""
    return F.pad(mel, (0, 0, SUBSAMPLING - 1, SUBSAMPLING * frames - mel.shape[1] - SUBSAMPLING + 1), value=5.0)


def whole(model: NemotronASR, mel: Tensor, lookahead: int) -> Tensor:
    frames = encoder_frames(mel.shape[1])
    state = model.encoder.initial_state(len(mel), history=0)
    encoded: Tensor = model.encoder(padded(mel, frames), LENGTHS, state, lookahead + 1)[0]
    return encoded


def chunk_by_chunk(model: NemotronASR, mel: Tensor, lookahead: int) -> Tensor:
    chunk, lengths = lookahead + 1, LENGTHS[: len(mel)]
    steps = -(-encoder_frames(mel.shape[1]) // chunk)
    windows = padded(mel, steps * chunk).split(SUBSAMPLING * chunk, dim=1)
    state, encoded = model.encoder.initial_state(len(mel)), []
    for window in windows:
        frames, state = model.encoder(window, lengths, state, chunk)
        encoded.append(frames)
    return torch.cat(encoded, dim=1)


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """Over the frames that exist."""
    return max(
        float((ours[row, :frames] - theirs[row, :frames]).abs().max())
        for row, frames in enumerate(map(encoder_frames, LENGTHS.tolist()))
    )


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_float64_encoder_and_prompt_agree_offline_and_streamed(pair: Pair, lookahead: int) -> None:
    model = pair.ours
    mel, prompts = batch(model)
    theirs = pair.features(mel, LENGTHS, prompts, lookahead)
    for encoded in (whole(model, mel, lookahead), chunk_by_chunk(model, mel, lookahead)):
        projected = model.transducer.project(model.prompt(encoded, prompts))
        assert largest_difference(encoded, theirs.last_hidden_state) < 1e-7
        assert largest_difference(projected, theirs.pooler_output) < 1e-7


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_tokens_are_identical(pair: Pair, lookahead: int) -> None:
    model = pair.ours
    mel, prompts = batch(model)
    frames = torch.tensor([encoder_frames(length) for length in LENGTHS.tolist()])
    fused = model.prompt(chunk_by_chunk(model, mel, lookahead), prompts)
    said, _ = greedy(model.transducer, fused, frames, initial_state(model.transducer, len(mel)))
    for row, length in enumerate(LENGTHS.tolist()):
        theirs = pair.tokens(mel[row], length, int(prompts[row]), lookahead)
        assert [emission.token for emission in said[row]] == theirs
    assert len({emission.token for row in said for emission in row}) >= 3


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
@pytest.mark.parametrize("name", CONFIGS)
def test_float32_agrees(name: str, lookahead: int) -> None:
    pair = make_pair(CONFIGS[name], torch.float32)
    mel, prompts = batch(pair.ours)
    theirs = pair.features(mel, LENGTHS, prompts, lookahead)
    encoded = chunk_by_chunk(pair.ours, mel, lookahead)
    assert largest_difference(encoded, theirs.last_hidden_state) < 2e-4
    assert largest_difference(whole(pair.ours, mel, lookahead), theirs.last_hidden_state) < 2e-4


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_their_own_stream_agrees(pair: Pair, lookahead: int) -> None:
    """transformers fed chunk by chunk with its caches, as far as whole chunks go."""
    model, chunk = pair.ours, lookahead + 1
    mel, _ = batch(model)
    mel, chunks = mel[:1], 3
    ours = chunk_by_chunk(model, mel, lookahead)[:1]
    cache: dict[str, object] = {"past_key_values": None, "padding_cache": None}
    for i in range(chunks):
        first = 0 if i == 0 else 1 + SUBSAMPLING * (chunk * i - 1)
        last = 1 + SUBSAMPLING * (chunk * (i + 1) - 1)
        if last > int(LENGTHS[0]):
            break
        out = pair.theirs.encoder(mel[:, first:last], use_cache=True, num_lookahead_tokens=lookahead, **cache)
        cache = {"past_key_values": out.past_key_values, "padding_cache": out.padding_cache}
        difference = (ours[:, i * chunk : (i + 1) * chunk] - out.last_hidden_state).abs().max()
        assert difference < 1e-7


def test_bfloat16_stays_close(pair: Pair) -> None:
    model = pair.ours
    mel, _ = batch(model)
    exact = whole(model, mel, 6)
    half = NemotronASR(model.config).bfloat16().eval()
    half.load_state_dict(model.state_dict())
    difference = whole(half, mel.bfloat16(), 6).double()[0] - exact[0]
    assert difference.norm() / exact[0].norm() < 0.05
