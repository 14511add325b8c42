"""Lets people say one utterance after another, each of which ends with its tag.

    python -m recipes.tiny.join --data WORK --output WORK/human-joined

Recordings hold a sentence each. Who has never heard what comes behind a tag does not know that a new utterance begins
there. Two or three recordings of one language, or now and then of several, follow one another after a pause, with a
whisper of noise below all of them. Writes `OUTPUT/joined/*.flac` and the manifest `OUTPUT.jsonl`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.random import Generator

from nemotron_asr.audio import Samples, load
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.training.augment import add_noise, at_level, coloured_noise
from recipes.tiny.manifests import Entry, read
from recipes.tiny.splice import keep

UTTERANCES = (2, 3)
LONGEST = 13.5  # seconds of all together: training takes no more than 14
PAUSE_SECONDS = (0.05, 1.5)
LEVEL = (-26.0, -22.0)  # dB of full scale: speakers differ by as much
FLOOR_SNR = (28.0, 48.0)  # dB, over the noise that goes on in pauses
NOISE = coloured_noise(10 * SAMPLE_RATE, 1.0, np.random.default_rng(0))
FOREIGN_SHARE = 0.15  # of those that follow: in any language


def draw(entries: list[Entry], dice: Generator) -> list[Entry]:
    """Recordings that may follow one another; the last one's language is asked for."""
    last = entries[dice.integers(len(entries))]
    kin = [entry for entry in entries if entry["target_lang"] == last["target_lang"]]
    chosen, seconds = [last], last["duration"]
    for _ in range(dice.integers(*UTTERANCES, endpoint=True) - 1):
        others = entries if dice.random() < FOREIGN_SHARE else kin
        other = others[dice.integers(len(others))]
        seconds += PAUSE_SECONDS[1] + other["duration"]
        if seconds <= LONGEST:
            chosen.insert(0, other)
    return chosen


def said(chosen: list[Entry]) -> str:
    """Their texts, with a tag behind each but the last, which training adds."""
    *before, last = chosen
    return " ".join([f"{entry['text']} <{entry['target_lang']}>" for entry in before] + [last["text"]])


def heard(chosen: list[Entry], dice: Generator) -> Samples:
    """Their recordings, as loud as one another, with pauses between them."""
    parts: list[Samples] = []
    for entry in chosen:
        pause = np.zeros(int(dice.uniform(*PAUSE_SECONDS) * SAMPLE_RATE), np.float32)
        parts += [at_level(load(entry["audio_filepath"]), dice.uniform(*LEVEL)), pause]
    return add_noise(np.concatenate(parts[:-1]), NOISE, dice.uniform(*FLOOR_SNR))


def main() -> None:
    """Reads the command line and joins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the manifest")
    parser.add_argument("--manifest", default="human.jsonl", help="whose recordings are joined")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1500)
    options = parser.parse_args()
    entries, dice = read(options.data / options.manifest), np.random.default_rng(options.count)
    folder = options.output / "joined"
    folder.mkdir(parents=True, exist_ok=True)
    with options.output.with_suffix(".jsonl").open("w", encoding="utf-8") as manifest:
        for number in range(options.count):
            chosen = draw(entries, dice)
            if len(chosen) > 1:
                path = folder / f"{number:05d}.flac"
                line = keep(path, heard(chosen, dice), said(chosen), chosen[-1], "joined")
                manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
