import pytest
import torch

from nemotron_asr.decoding.greedy import WINDOW, greedy, initial_state
from nemotron_asr.model import Transducer
from tests.conftest import random_model, tiny_config

CONFIG = tiny_config(max_symbols=3)


def textbook(transducer: Transducer, frames: torch.Tensor) -> list[tuple[int, int, float]]:
    """One utterance, one frame and one symbol at a time."""
    said = []
    blank = torch.tensor([[CONFIG.blank]])
    pred, state = transducer.predict(blank, transducer.initial_state(1))
    for t, frame in enumerate(transducer.project(frames)):
        for _ in range(CONFIG.max_symbols):
            logprobs = transducer.joint(frame, pred[0, 0]).log_softmax(-1)
            token = int(logprobs.argmax())
            if token == CONFIG.blank:
                break
            said.append((token, t, float(logprobs[token])))
            pred, state = transducer.predict(torch.tensor([[token]]), state)
    return said


def test_batched_search_is_the_textbook_loop() -> None:
    transducer = random_model(CONFIG).transducer.double()
    frames = torch.randn(5, 40, CONFIG.d_model, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    valid = torch.tensor([40, 13, 0, 27, 1])
    said, _ = greedy(transducer, frames, valid, initial_state(transducer, 5))
    for row, emissions in enumerate(said):
        expected = textbook(transducer, frames[row, : valid[row]])
        assert [(e.token, e.frame) for e in emissions] == [(token, t) for token, t, _ in expected]
        assert [e.logprob for e in emissions] == pytest.approx([p for *_, p in expected], abs=1e-5)
    assert len(said[0]) > 10
    assert max(sum(e.frame == t for e in said[0]) for t in range(40)) == CONFIG.max_symbols


def test_state_carries_over_a_cut_and_is_not_modified() -> None:
    transducer = random_model(CONFIG).transducer.double()
    frames = torch.randn(2, 30, CONFIG.d_model, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    start = initial_state(transducer, 2)
    kept = start.out.clone()
    whole, _ = greedy(transducer, frames, torch.tensor([30, 30]), start)
    first, state = greedy(transducer, frames[:, :11], torch.tensor([11, 11]), start)
    second, _ = greedy(transducer, frames[:, 11:], torch.tensor([19, 19]), state)
    for row in range(2):
        assert [e.token for e in whole[row]] == [e.token for e in first[row] + second[row]]
    assert torch.equal(start.out, kept)


def test_silent_frames_share_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(CONFIG)
    model.transducer.head.bias[CONFIG.blank] = 1e6
    calls = 0
    joint = model.transducer.joint

    def counted(enc: torch.Tensor, pred: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return joint(enc, pred)

    monkeypatch.setattr(model.transducer, "joint", counted)
    said, _ = greedy(model.transducer, torch.zeros(3, 20, CONFIG.d_model), torch.tensor([20, 20, 5]),
                     initial_state(model.transducer, 3))  # fmt: skip
    assert said == [[], [], []]
    assert calls == 20 // WINDOW


def test_the_predictor_starts_anew_behind_a_final_token() -> None:
    """What comes behind it is what would come first; without final tokens it is not."""
    usual = random_model(CONFIG).transducer
    (ended,) = (random_model(tiny_config(max_symbols=3, final_tokens=(5,))).transducer,)
    assert torch.equal(usual.head.weight, ended.head.weight)
    memory = ended.predict(torch.tensor([[3], [3]]), ended.initial_state(2))[1]
    fresh, start = ended.predict(torch.full((1, 1), CONFIG.blank), ended.initial_state(1))
    out, after = ended.predict(torch.tensor([[5], [4]]), memory)
    assert torch.equal(out[0], fresh[0])
    assert torch.equal(after.h[0], start.h[0])
    assert torch.equal(out[1], usual.predict(torch.tensor([[5], [4]]), memory)[0][1])
    assert not torch.equal(usual.predict(torch.tensor([[5], [4]]), memory)[0][0], fresh[0])
