"""Where somebody speaks: what the network computes, and what follows from it."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.audio.activity import CONTEXT, WINDOW, Edge, VoiceActivity, require_voice_activity
from nemotron_asr.errors import MissingExtraError
from tests.conftest import Sample

SECOND = np.zeros(16_000, np.float32)


def probabilities(audio: Samples) -> list[float]:
    """Of every window, by the network in NumPy."""
    network, heard = require_voice_activity(), np.concatenate([np.zeros(CONTEXT, np.float32), audio])
    hidden, cell, found = np.zeros(128, np.float32), np.zeros(128, np.float32), []
    for start in range(0, len(audio) - WINDOW + 1, WINDOW):
        probability, hidden, cell = network(heard[start : start + CONTEXT + WINDOW], hidden, cell)
        found.append(probability)
    return found


def layers(audio: Samples) -> list[float]:
    """The same, of torch's layers."""
    package = find_spec("silero_vad")
    assert package is not None
    assert package.submodule_search_locations is not None
    w = load_file(Path(package.submodule_search_locations[0]) / "data" / "silero_vad_16k.safetensors")
    state: tuple[Tensor, Tensor] = (torch.zeros(128), torch.zeros(128))
    heard, found = torch.from_numpy(np.concatenate([np.zeros(CONTEXT, np.float32), audio])), []
    for start in range(0, len(audio) - WINDOW + 1, WINDOW):
        window = F.pad(heard[None, start : start + CONTEXT + WINDOW], (0, CONTEXT), mode="reflect")
        spectrum = F.conv1d(window[None], w["stft_conv.weight"], stride=128)
        x = (spectrum[:, :129].square() + spectrum[:, 129:].square()).sqrt()
        for layer, stride in enumerate((1, 2, 2, 1), 1):
            x = F.conv1d(x, w[f"conv{layer}.weight"], w[f"conv{layer}.bias"], stride, padding=1).relu()
        cell = [w[f"lstm_cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        state = torch.lstm_cell(x[:, :, 0], (state[0].reshape(1, -1), state[1].reshape(1, -1)), *cell)
        out = F.conv1d(state[0].relu()[:, :, None], w["final_conv.weight"], w["final_conv.bias"])
        found.append(out.sigmoid().item())
    return found


@pytest.mark.usefixtures("no_grad")
def test_the_network_is_that_of_torch(samples: list[Sample]) -> None:
    audio = samples[0].audio[:48_000]
    np.testing.assert_allclose(probabilities(audio), layers(audio), atol=1e-4)


def test_voice_is_found_where_it_is(samples: list[Sample]) -> None:
    for sample in samples:
        edges = VoiceActivity().feed(np.concatenate([SECOND, sample.audio, SECOND]))
        assert [edge.voice for edge in edges] == [True, False] * (len(edges) // 2)
        spoken = sum(off.sample - on.sample for on, off in zip(edges[::2], edges[1::2], strict=True))
        assert 15_000 <= edges[0].sample < edges[-1].sample < 16_000 + len(sample.audio) + 8_000
        assert spoken > 0.7 * len(sample.audio)


def test_an_edge_is_known_soon(samples: list[Sample]) -> None:
    activity, audio = VoiceActivity(), np.concatenate([samples[0].audio, SECOND])
    for start in range(0, len(audio), 160):
        for edge in activity.feed(audio[start : start + 160]):
            assert edge.known - edge.sample == 3 * WINDOW
            assert edge.known <= start + 160 < edge.known + 160


@pytest.mark.parametrize(
    "noise",
    [
        np.zeros(80_000),
        0.001 * np.random.default_rng(1).normal(size=80_000),
        0.1 * np.random.default_rng(2).normal(size=80_000),
        0.2 * np.sin(np.arange(80_000) * 2 * np.pi * 50 / 16_000),
        (np.random.default_rng(3).random(80_000) < 0.001) * 0.5,
    ],
    ids=["zeros", "faint", "loud", "hum", "clicks"],
)
def test_noise_is_no_voice(noise: Samples) -> None:
    assert VoiceActivity().feed(noise.astype(np.float32)) == []


@given(cuts=st.lists(st.integers(0, 40_000), max_size=20))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packets_do_not_matter(samples: list[Sample], cuts: list[int]) -> None:
    audio = np.concatenate([SECOND[:5_000], samples[1].audio[:27_000], SECOND[:8_000]])
    activity, edges = VoiceActivity(), list[Edge]()
    for packet in np.split(audio, sorted(cuts)):
        edges += activity.feed(packet)
    assert edges == VoiceActivity().feed(audio) != []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nemotron_asr.audio.activity.find_spec", lambda _: None)
    require_voice_activity.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'nemotron-asr\[vad\]'"):
        VoiceActivity()
