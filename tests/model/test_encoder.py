"""One step for new, running and ending streams; what a frame may depend on."""

import pytest
import torch
from torch import Tensor

from nemotron_asr.features import LogMel
from nemotron_asr.model import Encoder, EncoderState, NemotronASR, encoder_frames
from nemotron_asr.model.conformer import shift_by_distance
from tests.conftest import random_model, tiny_config

CONFIG = tiny_config(left_context=14)
FOREVER = 2**40


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return random_model(CONFIG).encoder.double()


def mel(frames: int, rows: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 8 * frames, CONFIG.n_mels, dtype=torch.double, generator=generator)


def whole(encoder: Encoder, features: Tensor, chunk: int, end: int = FOREVER) -> Tensor:
    ends = torch.full((len(features),), end)
    encoded: Tensor = encoder(features, ends, encoder.initial_state(len(features)), chunk)[0]
    return encoded


@pytest.mark.parametrize("chunk", [1, 2, 7, 14])
def test_rows_with_different_clocks_share_a_step(encoder: Encoder, chunk: int) -> None:
    """Three streams in a pool, stepped in ever different company, equal each fed whole."""
    features, steps = mel(6 * chunk, rows=3), 6
    pool, done = encoder.initial_state(3), [0, 0, 0]
    heard: list[list[Tensor]] = [[], [], []]
    order = [[0], [0, 1], [2, 0], [1, 2, 0], [1], [2, 1], [0, 2], [0, 1, 2], [1, 2]]
    for company in order:
        rows = torch.tensor(company)
        windows = torch.stack([features[row, 8 * chunk * done[row] : 8 * chunk * (done[row] + 1)] for row in company])
        encoded, state = encoder(windows, torch.full((len(company),), FOREVER), pool.gather(rows), chunk)
        pool.scatter(rows, state)
        for i, row in enumerate(company):
            heard[row].append(encoded[i])
            done[row] += 1
    expected = whole(encoder, features, chunk)
    assert done == [6, 6, 6] == [steps] * 3
    for row in range(3):
        assert (torch.cat(heard[row]) - expected[row]).abs().max() < 1e-12


def test_an_empty_history_is_exact_for_whole_utterances(encoder: Encoder) -> None:
    features = mel(40)
    ends = torch.tensor([FOREVER])
    short, _ = encoder(features, ends, encoder.initial_state(1, history=0), 4)
    assert (short - whole(encoder, features, 4)).abs().max() < 1e-12


def test_what_lies_before_time_zero_does_not_matter(encoder: Encoder) -> None:
    features, garbage = mel(8), mel(8)
    garbage[:, :7] = 1e6
    features[:, :7] = 0
    assert torch.equal(whole(encoder, features, 2), whole(encoder, garbage, 2))


def test_what_lies_after_the_end_does_not_matter(encoder: Encoder) -> None:
    features, end = mel(14), 50
    garbage = features.clone()
    garbage[:, 7 + end :] = float("nan")
    frames = encoder_frames(end)
    assert torch.equal(whole(encoder, features, 14, end)[:, :frames], whole(encoder, garbage, 14, end)[:, :frames])


def test_frames_past_the_end_are_not_nan(encoder: Encoder) -> None:
    assert whole(encoder, mel(56), 1, end=8).isfinite().all()


@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_a_frame_sees_its_chunk_and_nothing_later(encoder: Encoder, chunk: int) -> None:
    features, changed = mel(4 * chunk), mel(4 * chunk)
    changed[:, 8 * 2 * chunk :] += 1
    before, after = whole(encoder, features, chunk), whole(encoder, changed, chunk)
    assert torch.equal(before[:, : 2 * chunk], after[:, : 2 * chunk])
    assert (before[:, 2 * chunk :] != after[:, 2 * chunk :]).any(-1).all()


def test_attention_forgets_beyond_the_left_context() -> None:
    config = tiny_config(left_context=4, n_layers=1, conv_kernel=1)
    encoder = random_model(config).encoder.double()
    features, changed = mel(20), mel(20)
    changed[:, :8] += 1
    difference = (whole(encoder, features, 1) - whole(encoder, changed, 1)).abs().amax(-1)[0]
    assert (difference[:6] > 0).any()
    assert difference[8:].max() == 0


def test_a_reset_row_is_a_new_stream(encoder: Encoder) -> None:
    features = mel(4)
    _, state = encoder(features, torch.tensor([FOREVER]), encoder.initial_state(1), 4)
    state.reset(torch.tensor([0]))
    again, _ = encoder(features, torch.tensor([FOREVER]), state, 4)
    assert torch.equal(again, whole(encoder, features, 4))


@pytest.mark.parametrize(("frames", "expected"), [(0, 0), (1, 1), (7, 2), (8, 2), (1000, 126), (1001, 126)])
def test_number_of_frames(frames: int, expected: int) -> None:
    assert encoder_frames(frames) == expected


def test_shift_by_distance_is_a_gather() -> None:
    rows, keys = 5, 9
    scores = torch.randn(2, 3, rows, keys + rows - 1)
    column = torch.arange(rows - 1, -1, -1)[:, None] + torch.arange(keys)
    assert torch.equal(shift_by_distance(scores, keys), scores.gather(-1, column.expand(2, 3, -1, -1)))


def test_every_weight_learns() -> None:
    model = random_model(CONFIG).requires_grad_()
    samples = torch.randn(2, 1 + 160 * 79 + 512) * 0.1
    features = LogMel(CONFIG)(samples, torch.tensor([0, 0]), torch.tensor([9000, 12000]))
    frames, _ = model.encoder(features, torch.tensor([56, 75]), model.encoder.initial_state(2, history=0), 4)
    fused = model.prompt(frames, torch.tensor([0, 9]))
    tokens = torch.tensor([[CONFIG.blank, 3, 4], [CONFIG.blank, 5, 6]])
    pred, _ = model.transducer.predict(tokens, model.transducer.initial_state(2))
    model.transducer.joint(model.transducer.project(fused)[:, :, None], pred[:, None]).logsumexp(-1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0 or name.endswith(".k.bias"), name


def test_state_parts_have_a_row_per_stream(encoder: Encoder) -> None:
    state: EncoderState = encoder.initial_state(3)
    assert all(len(part) == 3 for part in state.tensors())


def test_a_model_without_prompt_has_none() -> None:
    model = NemotronASR(tiny_config(n_prompts=0, default_prompt=0))
    frames = torch.randn(1, 4, model.config.d_model)
    assert model.prompt(frames, torch.tensor([0])) is frames
    assert not any(name.startswith("prompt") for name in model.state_dict())
