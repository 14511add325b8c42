"""transformers on the same card: the same size, random weights that talk as much, run as its documentation shows."""

import importlib.util
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE, ModelConfig

LOOKAHEADS = {80: 0, 1120: 13}


def stock_rows(device: torch.device, said: Samples, *, smoke: bool) -> dict[str, Any]:
    """Seconds of audio per second: batches of recordings, and one live stream after the other."""
    if importlib.util.find_spec("transformers") is None:
        return {"transformers": "not installed"}
    import transformers

    if not hasattr(transformers, "Nemotron3_5AsrForRNNT"):
        return {"transformers": f"{transformers.__version__} does not have the model; 5.23 does"}
    from nemotron_asr.benchmark.against_transformers import Transformers
    from nemotron_asr.benchmark.pair import make_pair

    pair = make_pair(1 if smoke else ModelConfig().n_layers)
    pair.attune(said[: 4 * SAMPLE_RATE], 13)

    class OnDevice(Transformers):
        """Features go to the model's device."""

        def _extract(self, samples: Samples, *, first: bool) -> Tensor:
            with torch.device("cpu"):  # it is called within `_generate`, and half of what it makes would be there
                features = super()._extract(samples, first=first)
            return features.to(device, self.model.dtype)

        def _generate(self, lookahead: int, **inputs: Any) -> list[int]:
            moved = {name: each.to(device) if isinstance(each, Tensor) else each for name, each in inputs.items()}
            with torch.device(device):
                return super()._generate(lookahead, **moved)

    if not smoke:
        pair.theirs.to(device, torch.bfloat16)
    stock = OnDevice(pair)
    found: dict[str, Any] = {"version": transformers.__version__}
    for name, take in _tasks(stock, said, 2 if smoke else 30):
        take()  # warms up
        began = time.perf_counter()
        seconds = take()
        _wait(device)
        found[name] = round(seconds / (time.perf_counter() - began), 2)
    return found


def _tasks(stock: Any, said: Samples, seconds: int) -> Iterator[tuple[str, Any]]:
    audio = said[: seconds * SAMPLE_RATE]
    yield "a recording", lambda: _run(stock, "file", audio, 13)
    for latency, lookahead in LOOKAHEADS.items():
        short = audio[: len(audio) // (1 if lookahead else 3)]
        yield f"a live stream, {latency} ms", lambda s=short, ahead=lookahead: _run(stock, "live", s, ahead)


def _run(stock: Any, task: str, audio: Samples, lookahead: int) -> float:
    with torch.inference_mode():
        stock.run(task, np.ascontiguousarray(audio), lookahead)
    return len(audio) / SAMPLE_RATE


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
