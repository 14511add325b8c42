"""The same computation as NeMo 3.0.0, which wrote down what it computed from `tiny.nemo` (tests/data/conformance)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nemotron_asr.benchmark.driver import Driver
from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.config import HOP
from nemotron_asr.decoding.greedy import greedy, initial_state
from nemotron_asr.engine.building import build_model
from nemotron_asr.engine.runner import Runner
from nemotron_asr.features import LogMel, mel_frames
from nemotron_asr.model import NemotronASR
from tests.test_features import whole

pytestmark = pytest.mark.usefixtures("no_grad")

DATA = Path(__file__).parents[1] / "data" / "conformance"
LOOKAHEADS = [0, 3, 13]
PROMPTS = {"en-US": 0, "auto": 101}


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """What NeMo computed."""
    with np.load(DATA / "tiny_nemo_outputs.npz") as archive:
        return {name: archive[name] for name in archive}


@pytest.fixture(scope="module")
def loaded() -> tuple[NemotronASR, LogMel]:
    return build_model(load_checkpoint(DATA / "tiny.nemo"), torch.device("cpu"), torch.float32)


def encode(loaded: tuple[NemotronASR, LogMel], audio: np.ndarray, chunk: int, *, step: int) -> torch.Tensor:
    """Encoder frames of one utterance, `step` frames at a time."""
    model, log_mel = loaded
    mel = torch.cat([torch.zeros(7, 128), whole(log_mel, audio), torch.zeros(8 * 20, 128)])
    end = torch.tensor([mel_frames(len(audio))])
    state, frames = model.encoder.initial_state(1), []
    for window in mel[: (len(audio) // HOP // 8 + 1 + step - 1) // step * step * 8].split(8 * step):
        encoded, state = model.encoder(window[None], end, state, chunk)
        frames.append(encoded)
    return torch.cat(frames, dim=1)[:, :126]


def test_features(loaded: tuple[NemotronASR, LogMel], outputs: dict[str, Any]) -> None:
    ours = whole(loaded[1], outputs["audio"])
    theirs = outputs["features"][0].T[: len(ours)]
    assert int(outputs["features_len"][0]) == len(ours)
    assert np.abs(ours.numpy() - theirs).max() < 1e-3
    own = LogMel(loaded[0].config)
    assert (own.filters - loaded[1].filters).abs().max() < 1e-7
    assert (own.window - loaded[1].window).abs().max() < 1e-6


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_encoder(loaded: tuple[NemotronASR, LogMel], outputs: dict[str, Any], lookahead: int) -> None:
    chunk = lookahead + 1
    theirs = outputs[f"offline_enc_56_{lookahead}"].transpose(0, 2, 1)
    for step in (chunk, 112):
        ours = encode(loaded, outputs["audio"], chunk, step=step).numpy()
        assert np.abs(ours - theirs).max() < 2e-4
    if lookahead:  # at 0 NeMo's stream departs from its own offline result, which is the right one
        streamed = outputs[f"stream_enc_56_{lookahead}"].transpose(0, 2, 1)
        whole_chunks = 126 // chunk * chunk  # NeMo's stream sees padding beyond the end of the last one
        assert np.abs(ours - streamed)[:, :whole_chunks].max() < 2e-4


@pytest.mark.parametrize("language", PROMPTS)
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_prompted_tokens_and_their_frames(
    loaded: tuple[NemotronASR, LogMel], outputs: dict[str, Any], lookahead: int, language: str
) -> None:
    model, _ = loaded
    encoded = encode(loaded, outputs["audio"], lookahead + 1, step=lookahead + 1)
    fused = model.prompt(encoded, torch.tensor([PROMPTS[language]]))
    theirs = outputs[f"offline_prompted_{language}_56_{lookahead}"].transpose(0, 2, 1)
    assert np.abs(fused.numpy() - theirs).max() < 2e-4
    (said,), _ = greedy(model.transducer, fused, torch.tensor([126]), initial_state(model.transducer, 1))
    assert [e.token for e in said] == outputs[f"offline_tokens_{language}_56_{lookahead}"].tolist()
    assert [e.frame for e in said] == outputs[f"offline_timestamps_{language}_56_{lookahead}"].tolist()


@pytest.mark.parametrize("language", PROMPTS)
@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_live_from_samples_to_tokens(
    loaded: tuple[NemotronASR, LogMel], outputs: dict[str, Any], lookahead: int, language: str
) -> None:
    driver = Driver(Runner(*loaded))
    stream, said = driver.open(PROMPTS[language], lookahead + 1), []
    for packet in np.array_split(outputs["audio"], 97):
        stream.feed(packet)
        said += [emission for _, emissions in driver.drain() for emission in emissions]
    stream.close()
    said += [emission for _, emissions in driver.drain() for emission in emissions]
    assert [e.token for e in said] == outputs[f"offline_tokens_{language}_56_{lookahead}"].tolist()
    assert [e.frame for e in said] == outputs[f"offline_timestamps_{language}_56_{lookahead}"].tolist()
