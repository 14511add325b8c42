"""How well speech is heard after a long silence: word errors, with and without voice activity, as a Markdown table.

    python -m benchmarks.silence --manifest DATA/speech/dev.jsonl --seconds 2 --seconds 20 --seconds 120

Every clip is heard by itself, after silence at the start of a stream, and after another clip and silence. The silence
is noise at -66 dB, which is what a quiet room is. The language is left to the model.
"""

import argparse
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nemotron_asr import audio
from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.corpus.manifest import Clip, read_manifest
from nemotron_asr.errors import NemotronError
from nemotron_asr.evaluation.normalisation import units
from nemotron_asr.evaluation.scoring import align, count, total
from nemotron_asr.recognizer import Recognizer, load

NOISE = 0.0005
"""Standard deviation of what is called silence."""


def quiet(seconds: float) -> Samples:
    """Silence as microphones hear it."""
    noise = np.random.default_rng(0).normal(0, NOISE, round(seconds * SAMPLE_RATE))
    return noise.astype(np.float32)


def heard(asr: Recognizer, befores: Sequence[Samples], clips: Sequence[Samples], *, vad: bool) -> Iterator[str]:
    """What is heard of every clip behind what comes before it."""
    recordings = (
        (np.concatenate([before, clip, quiet(1)]), SAMPLE_RATE) for before, clip in zip(befores, clips, strict=True)
    )
    for before, result in zip(befores, asr.transcribe_many(recordings, vad=vad, batch=16), strict=True):
        if isinstance(result, NemotronError):
            raise result
        behind = [segment for segment in result.segments if segment.end > len(before) / SAMPLE_RATE]
        yield "".join((" " if segment.spaced else "") + segment.text for segment in behind)


def errors(clips: Sequence[Clip], texts: Iterable[str]) -> float:
    """The word error rate, in percent."""
    counts = [
        count(align(units(clip.text, clip.language), units(text, clip.language)))
        for clip, text in zip(clips, texts, strict=True)
    ]
    return 100 * total(counts).rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--clips", type=int, default=100, help="how many are tried")
    parser.add_argument("--seconds", type=float, action="append", required=True, help="of silence; may be repeated")
    options = parser.parse_args()
    clips = random.Random(0).sample(read_manifest(options.manifest), options.clips)
    speech = [audio.load(str(clip.path)) for clip in clips]
    others = [*speech[1:], speech[0]]
    asr = load(options.model)
    print("| before the clip | WER | WER with vad |\n|---|---|---|")

    def row(name: str, befores: Sequence[Samples]) -> None:
        rates = [errors(clips, heard(asr, befores, speech, vad=vad)) for vad in (False, True)]
        print(f"| {name} | {rates[0]:.1f}% | {rates[1]:.1f}% |", flush=True)

    row("nothing", [quiet(0)] * len(clips))
    for seconds in options.seconds:
        row(f"{seconds:g} s of silence", [quiet(seconds)] * len(clips))
        row(f"a clip and {seconds:g} s of silence", [np.concatenate([other, quiet(seconds)]) for other in others])


if __name__ == "__main__":
    main()
