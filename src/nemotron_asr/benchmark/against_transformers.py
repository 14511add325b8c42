"""Ours against transformers: the same random weights, audio and threads, in one run, taking turns.

    nemotron-asr bench --against transformers               # 4 of 24 layers, a few minutes
    nemotron-asr bench --against transformers --layers 24   # as large as the released model

transformers runs as its documentation shows: `generate` on the features of a whole recording, and `generate` on a
generator that extracts the features of one chunk at a time. Ours goes from samples to tokens as well. Both are warmed
up, in evaluation and inference mode. The exit status is 1 when their tokens differ in float32.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from transformers import NemotronAsrStreamingFeatureExtractor
from transformers.utils import logging

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.comparison import LEGEND, compare, print_headings
from nemotron_asr.benchmark.contenders import Ours, Stopwatch, Tokens
from nemotron_asr.benchmark.pair import PROMPT, Pair, make_pair
from nemotron_asr.config import HOP, SAMPLE_RATE, SUBSAMPLING
from nemotron_asr.features import N_FFT, WINDOW

NO_LIMIT = 10**6
"""Tokens, blanks included, after which transformers would stop."""


class Transformers:
    """transformers, as its documentation shows."""

    def __init__(self, pair: Pair) -> None:
        self.model = pair.theirs
        self.encoder = Stopwatch(pair.theirs.encoder)
        self._blank = pair.ours.model.config.blank
        self._extractor = NemotronAsrStreamingFeatureExtractor(feature_size=pair.ours.model.config.n_mels)

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe."""
        if task == "live":
            return self._generate(lookahead, input_features=self._chunks(samples, lookahead))
        inputs = self._extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        inputs["input_features"] = inputs["input_features"].to(self.model.dtype)
        return self._generate(lookahead, **inputs)

    def _chunks(self, samples: Samples, lookahead: int) -> Iterator[Tensor]:
        """The features of one chunk after another, in the sizes that the processor names."""
        position, per_chunk = 1 + SUBSAMPLING * lookahead, SUBSAMPLING * (lookahead + 1)
        yield self._extract(samples[: (position - 1) * HOP + WINDOW // 2], first=True)[:, :position]
        while (end := (start := position * HOP - N_FFT // 2) + per_chunk * HOP + WINDOW) < len(samples):
            # The documented loop has a negative start for 80 ms, which Python counts from the end.
            yield self._extract(np.pad(samples[max(0, start) : end], (max(0, -start), 0)), first=False)
            position += per_chunk

    def _extract(self, samples: Samples, *, first: bool) -> Tensor:
        inputs = self._extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", center=first)
        mel: Tensor = inputs["input_features"]
        return mel

    def _generate(self, lookahead: int, **inputs: object) -> Tokens:
        asked = {"num_lookahead_tokens": lookahead, "prompt_ids": torch.tensor([PROMPT]), "max_new_tokens": NO_LIMIT}
        said = self.model.generate(**asked, **inputs)
        return [token for token in said.sequences[0].tolist() if token != self._blank]


@torch.inference_mode()
def run(layers: int = 4, rounds: int = 3) -> bool:
    """Measure and print; whether the tokens are the same in float32.

    Args:
        layers: conformer blocks, of full width; the released model has 24.
        rounds: timed, after one to warm up.
    """
    logging.set_verbosity_error()
    pair = make_pair(layers)
    print_headings("transformers", layers, rounds)
    same = all(compare((Transformers(pair), Ours(pair.ours)), "float32", rounds, pair.attune))
    pair = pair.to_bfloat16()
    compare((Transformers(pair), Ours(pair.ours)), "bfloat16", rounds, pair.attune)
    pair = pair.to_int8()
    compare((Transformers(pair), Ours(pair.ours)), "bfloat16, int8", rounds)
    print(LEGEND)
    return same
