"""Ways to make a word's confidence of its tokens, against whether the word is right, as a Markdown table.

    python -m benchmarks.confidence --manifest DATA/speech/dev.jsonl

The recordings are heard once for every way, at 1120 ms, the language left to the model. ECE is the expected calibration
error in ten bins; AUC is how often a right word is more certain than a wrong one (Mann and Whitney 1947).
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import prod
from statistics import fmean
from unittest.mock import patch

import torch

from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.errors import NemotronError
from nemotron_asr.evaluation.calibration import expected_calibration_error, reliability
from nemotron_asr.evaluation.judging import judge
from nemotron_asr.evaluation.manifests import read_clips
from nemotron_asr.evaluation.recognition import Mode, recognize_all
from nemotron_asr.recognizer import Recognizer, load

Way = Callable[[Sequence[Emission]], float]
Words = list[tuple[float, bool]]

LATENCY_MS = 1120


def geometric_mean(values: Sequence[float]) -> float:
    """Of numbers from 0 to 1; nearly 0 counts as 1e-9."""
    return math.exp(fmean(math.log(max(value, 1e-9)) for value in values))


def certainties(tokens: Sequence[Emission]) -> list[float]:
    """How sure the model was of each token."""
    return [token.confidence for token in tokens]


def probabilities(tokens: Sequence[Emission]) -> list[float]:
    """How likely the model took each token to be."""
    return [math.exp(token.logprob) for token in tokens]


WAYS: dict[str, Way] = {
    "least certain token": lambda tokens: min(certainties(tokens)),
    "geometric mean of certainties": lambda tokens: geometric_mean(certainties(tokens)),
    "mean of certainties": lambda tokens: fmean(certainties(tokens)),
    "product of certainties": lambda tokens: prod(certainties(tokens)),
    "product of the tokens' probabilities": lambda tokens: prod(probabilities(tokens)),
    "least probable token": lambda tokens: min(probabilities(tokens)),
    "geometric mean of probabilities (as most runtimes do)": lambda tokens: geometric_mean(probabilities(tokens)),
}


def words(asr: Recognizer, clips: Sequence[Clip], way: Way) -> Iterator[tuple[float, bool]]:
    """The confidence of every word that is heard, made in some way, and whether the word is right."""
    with patch("nemotron_asr.transcript.words.confidence", way):
        for recognition in recognize_all(asr, clips, Mode.AUTO, LATENCY_MS, batch=16):
            if not isinstance(recognition, NemotronError):
                yield from judge(recognition).confidences


def area(heard: Words) -> float:
    """The chance that of a right and a wrong word the right one has more confidence; even counts half."""
    right, below, pairs = sum(right for _, right in heard), 0, 0.0
    for _, tied in groupby(sorted(heard), key=lambda word: word[0]):
        here = [right for _, right in tied]
        wrong = len(here) - sum(here)
        pairs += sum(here) * (below + wrong / 2)
        below += wrong
    return pairs / (right * (len(heard) - right))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--model", default="tiny")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asr = load(options.model)
    clips = [clip for clip in read_clips([options.manifest], asr.config) if isinstance(clip, Clip)]
    print("| | ECE | AUC |\n|---|---|---|")
    for name, way in WAYS.items():
        heard = list(words(asr, clips, way))
        error = expected_calibration_error(reliability(heard))
        print(f"| {name} | {error:.3f} | {area(heard):.3f} |", flush=True)
    print(f"{len(heard)} words, {100 * fmean(right for _, right in heard):.0f} % of them right")


if __name__ == "__main__":
    main()
