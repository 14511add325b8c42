import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nemotron_asr.decoding import beam as search
from nemotron_asr.decoding.beam import Beam, BeamState, beam, initial_beam
from nemotron_asr.decoding.bias import Bias, BoostTables
from nemotron_asr.decoding.boosting import NO_BOOST, BoostTree
from nemotron_asr.decoding.greedy import Emission, greedy, initial_state
from nemotron_asr.decoding.hypotheses import DEAD, alternatives
from nemotron_asr.model import Transducer
from tests.conftest import random_model, tiny_config

CONFIG = tiny_config(max_symbols=3)
WIDEST = 5


@pytest.fixture(scope="module")
def transducer() -> Transducer:
    return random_model(CONFIG).transducer.double()


def speech(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, length, CONFIG.d_model, dtype=torch.double, generator=generator)


def fresh(transducer: Transducer, width: int, rows: int = 1) -> BeamState:
    return initial_beam(transducer, rows, Beam(width))


def whole(transducer: Transducer, frames: torch.Tensor, width: int) -> list[Emission]:
    """One stream, alone and at once."""
    ends = torch.tensor([True])
    said, _ = beam(transducer, frames[None], torch.tensor([len(frames)]), fresh(transducer, width), ends=ends)
    return said[0]


def test_one_hypothesis_is_greedy(transducer: Transducer) -> None:
    frames, valid = speech(5, 40), torch.tensor([40, 13, 0, 27, 1])
    expected, _ = greedy(transducer, frames, valid, initial_state(transducer, 5))
    found, _ = beam(transducer, frames, valid, fresh(transducer, 1, 5))
    for row in range(5):
        assert [(e.token, e.frame) for e in found[row]] == [(e.token, e.frame) for e in expected[row]]
        assert [e.confidence for e in found[row]] == pytest.approx([e.confidence for e in expected[row]], abs=1e-5)
        assert [e.logprob for e in found[row]] == pytest.approx([e.logprob for e in expected[row]], abs=1e-5)
    assert len(found[0]) > 10


@settings(deadline=None, max_examples=8, phases=[Phase.explicit, Phase.generate])
@given(cuts=st.lists(st.integers(1, 23), max_size=6), width=st.integers(1, WIDEST), seed=st.integers(0, 99))
def test_chunks_say_what_the_whole_says(transducer: Transducer, cuts: list[int], width: int, seed: int) -> None:
    frames = speech(1, 24, seed)
    places = [0, *sorted(set(cuts)), 24]
    state, said, settled = fresh(transducer, width), [], 0
    for start, end in pairwise(places):
        ends = torch.tensor([end == 24])
        emissions, state = beam(transducer, frames[:, start:end], torch.tensor([end - start]), state, ends=ends)
        said += [(e.token, start + e.frame) for e in emissions[0]]
        assert all(frame >= settled for _, frame in said[len(said) - len(emissions[0]) :])
        settled = end - int(state.lag())
    assert said == [(e.token, e.frame) for e in whole(transducer, frames[0], width)]
    assert [frame for _, frame in said] == sorted(frame for _, frame in said)


def test_a_stream_does_not_depend_on_its_batch() -> None:
    transducer = random_model(CONFIG).transducer
    frames, valid = speech(4, 20).float(), torch.tensor([20, 13, 17, 1])
    found, _ = beam(transducer, frames, valid, fresh(transducer, 4, 4), ends=torch.ones(4, dtype=torch.bool))
    for row in range(4):
        alone = whole(transducer, frames[row, : valid[row]], 4)
        assert [(e.token, e.frame) for e in found[row]] == [(e.token, e.frame) for e in alone]


def test_streams_move_between_rows(transducer: Transducer) -> None:
    frames, half, ends = speech(2, 20), torch.tensor([10, 10]), torch.tensor([True, True])
    expected = [whole(transducer, row, 3) for row in frames]
    pool = fresh(transducer, 3).grown().grown()
    rows = torch.tensor([2, 1])
    pool.scatter(rows, fresh(transducer, 3, 2))
    first, state = beam(transducer, frames[:, :10], half, pool.gather(rows))
    pool.scatter(rows, state)
    rest, _ = beam(transducer, frames[:, 10:], half, pool.gather(rows), ends=ends)
    for row in range(2):
        said = [(e.token, e.frame) for e in first[row]] + [(e.token, 10 + e.frame) for e in rest[row]]
        assert said == [(e.token, e.frame) for e in expected[row]]


def test_frames_that_were_decoded_before_are_left_out(transducer: Transducer) -> None:
    frames, two = speech(1, 20), torch.tensor([False])
    first, state = beam(transducer, frames[:, :12], torch.tensor([12]), fresh(transducer, 4), ends=two)
    rest, _ = beam(transducer, frames[:, 8:], torch.tensor([12]), state, torch.tensor([4]), torch.tensor([True]))
    said = [(e.token, e.frame) for e in first[0]] + [(e.token, 8 + e.frame) for e in rest[0]]
    assert said == [(e.token, e.frame) for e in whole(transducer, frames[0], 4)]


def logprob(transducer: Transducer, frames: torch.Tensor, tokens: list[int]) -> float:
    """The probability that a transducer says just these tokens: the sum over all alignments (Graves 2012)."""
    out, _ = transducer.predict(torch.tensor([[CONFIG.blank, *tokens]]), transducer.initial_state(1))
    table = transducer.joint(transducer.project(frames)[:, None], out[0][None]).log_softmax(-1)
    alpha = torch.full((len(frames) + 1, len(tokens) + 1), -torch.inf, dtype=torch.double)
    alpha[0, 0] = 0
    for t in range(len(frames)):
        for u, token in enumerate(tokens):
            alpha[t, u + 1] = torch.logaddexp(alpha[t, u + 1], alpha[t, u] + table[t, u, token])
        alpha[t + 1] = alpha[t] + table[t, :, CONFIG.blank]
    return float(alpha[-1, -1])


def test_scores_are_sums_over_alignments(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for all that is not hopeless next to nothing is lost."""
    config = tiny_config(vocab_size=3, max_symbols=50)
    transducer = random_model(config).transducer.double()
    transducer.head.bias[config.blank] = 5
    monkeypatch.setattr(f"{__name__}.CONFIG", config)
    frames = speech(1, 3)
    state = fresh(transducer, 60)
    monkeypatch.setattr(search, "MARGIN", 12.0)
    monkeypatch.setattr(search, "PATIENCE", 99)
    said, state = beam(transducer, frames, torch.tensor([3]), state)
    score, slots = (state.hypotheses.score + state.hypotheses.worth)[0].sort(descending=True)
    others = alternatives(state.hypotheses, 0, slots[score > DEAD], score[score > DEAD])
    found = [([e.token for e in said[0] + other.emissions], other.score) for other in others]
    best = logprob(transducer, frames[0], found[0][0])
    assert len(found) > 5
    for tokens, relative in found[:5]:
        assert relative == pytest.approx(logprob(transducer, frames[0], tokens) - best, abs=1e-2)


def test_settled_tokens_carry_what_was_dropped_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With theirs in place of its own, that is what else may have been said; the scores are those of the sequences."""
    config = tiny_config(vocab_size=3, max_symbols=50)
    transducer = random_model(config).transducer.double()
    transducer.head.bias[config.blank] = 2
    monkeypatch.setattr(f"{__name__}.CONFIG", config)
    monkeypatch.setattr(search, "MARGIN", 12.0)
    monkeypatch.setattr(search, "PATIENCE", 99)
    frames = speech(1, 3, seed=2)
    said = whole(transducer, frames[0], 60)
    tokens = [emission.token for emission in said]
    found = [
        (variant.score, [*tokens[:i], *(e.token for e in variant.emissions), *tokens[i + variant.replaced :]])
        for i, emission in enumerate(said)
        for variant in emission.instead
    ]
    best = logprob(transducer, frames[0], tokens)
    assert len(found) > 5
    for score, others in sorted(found, reverse=True)[:5]:
        assert score == pytest.approx(logprob(transducer, frames[0], others) - best, abs=1e-2)
        assert others != tokens


def test_phrases_take_the_place_of_words_not_of_silence() -> None:
    logprobs = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    tree = BoostTree(np.array([0, 1]), np.array([3]), np.array([0]), np.array([2.0], np.float32))
    place = torch.zeros(2, 2, dtype=torch.long)
    bias = Bias.of([tree, NO_BOOST], [(), (1,)], place, BoostTables(place.device), blank=5)
    liked, allowed = bias.preferred(logprobs).exp()
    before = logprobs.exp()
    assert liked[5] == before[0, 5]
    assert liked[3] / liked[2] == pytest.approx(float(before[0, 3] / before[0, 2] * math.e**2), rel=1e-4)
    assert allowed[1] == 0
    assert allowed[5] == before[1, 5]
    assert float(liked.sum()) == pytest.approx(1, abs=1e-5)
    assert float(allowed.sum()) == pytest.approx(1, abs=1e-5)
