"""Measures a model: word errors and language detection per locale and latency, as a Markdown table.

    python -m recipes.tiny.measure --model tiny --manifest WORK/dev.jsonl --latency 1120 --latency 80

The language is left to the model. Words are compared in lower case and without punctuation.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from nemotron_asr.config import LATENCIES
from nemotron_asr.errors import NemotronError
from nemotron_asr.languages import AUTO
from nemotron_asr.recognizer import Recognizer, load
from nemotron_asr.training.manifest import Clip, read_manifest
from nemotron_asr.training.validation import Hypothesis, Score, score


def hear(recognizer: Recognizer, clips: Sequence[Clip], latency_ms: int) -> Iterable[Hypothesis]:
    """Transcribe all clips; one that cannot be read is reported and left out."""
    results = recognizer.transcribe_many((clip.path for clip in clips), language=AUTO, latency_ms=latency_ms)
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, NemotronError):
            print(f"left out: {result}")
        else:
            yield Hypothesis(clip.language, clip.text, result.text, result.language or "")


def table(scores: dict[int, Score], counts: dict[str, int]) -> str:
    """A row per locale, a column per latency."""
    lines = ["| locale | clips |" + "".join(f" WER at {latency} ms |" for latency in scores)]
    lines.append("|---|---|" + "---|" * len(scores))
    for locale, count in counts.items():
        rates = (score.languages.get(locale) for score in scores.values())
        cells = "".join(f" {rate:.1%} |" if rate is not None else " |" for rate in rates)
        lines.append(f"| {locale} | {count} |{cells}")
    lines.append(f"| all | {sum(counts.values())} |" + "".join(f" {score.wer:.1%} |" for score in scores.values()))
    lines.append("| language right | |" + "".join(f" {score.detected:.1%} |" for score in scores.values()))
    return "\n".join(lines)


def main() -> None:
    """Reads the command line, listens, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--latency", type=int, choices=LATENCIES, action="append")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--examples", type=int, default=0, help="how many clips to print, reference and hypothesis")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognizer, clips = load(options.model, dtype=options.dtype), read_manifest(options.manifest)
    scores: dict[int, Score] = {}
    for latency in options.latency or [1120]:
        heard = list(hear(recognizer, clips, latency))
        scores[latency] = score(heard)
        for hypothesis in heard[:: max(1, len(heard) // options.examples)] if options.examples else ():
            print(f"{hypothesis.language} -> {hypothesis.detected}: {hypothesis.reference!r} -> {hypothesis.text!r}")
    locales = sorted({clip.language for clip in clips})
    print(table(scores, {locale: sum(clip.language == locale for clip in clips) for locale in locales}))


if __name__ == "__main__":
    main()
