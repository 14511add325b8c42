"""What boosting gives and costs: names that occur, phrases that do not, and time.

    python benchmarks/boosting.py dev.jsonl --known train.jsonl --absent en-US.txt --absent de-DE.txt

A name is a capitalised word of five letters or more, not the first of its sentence, that the model's training text has
twice at most. Names are boosted in the recordings in which they occur (their own), and all of them everywhere (all).

The time is a ratio of CPU time, from samples to tokens: all recordings, 16 in a step, with phrases against without.
Each 16 are heard both ways in turn, for whatever else the machine does slows both; the median of the rounds counts.
1.05 is 5 % less throughput.
"""

import argparse
import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import jiwer
import torch

import nemotron_asr
from nemotron_asr.audio import load
from nemotron_asr.benchmark.driver import Driver
from nemotron_asr.config import chunk_frames
from nemotron_asr.decoding.boosting import boost_tree
from nemotron_asr.errors import NemotronError
from nemotron_asr.events import Final
from nemotron_asr.recognizer import Recognizer

Phrases = Mapping[str, float]

TOGETHER = 16
"""Recordings that are heard at a time."""


def words(text: str) -> list[str]:
    """The words of a text, without punctuation."""
    return re.findall(r"[\w']+", text)


def folded(text: str) -> str:
    """Words as they are compared."""
    return " ".join(words(text.lower()))


def names_in(text: str, known: Counter[str]) -> list[str]:
    """The names of a sentence."""
    return [w for w in words(text)[1:] if len(w) >= 5 and w[0].isupper() and known[w.lower()] <= 2]


class Recordings:
    """Recordings, what is said in them, and the names in it."""

    def __init__(self, manifest: Path, known: Counter[str]) -> None:
        rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        rows = [row for row in rows if folded(row["text"])]
        self.audio = [load(manifest.parent / row["audio_filepath"]) for row in rows]
        self.texts = [row["text"] for row in rows]
        self.names = [names_in(text, known) for text in self.texts]
        self.all_names = sorted({name for names in self.names for name in names})

    def transcribe(self, asr: Recognizer, phrases: Sequence[Phrases]) -> list[str]:
        """What is heard with each recording's own phrases."""
        texts: list[str] = []
        for some in self.batches():
            sessions = [asr.engine.open(latency_ms=1120, recording=True, boost=boost) for boost in phrases[some]]
            for audio, session in zip(self.audio[some], sessions, strict=True):
                session.feed(audio)
                session.close()
            finals = ([event.segment.text for event in session if isinstance(event, Final)] for session in sessions)
            texts += map(" ".join, finals)
        return texts

    def batches(self) -> list[slice]:
        """Those that are heard together."""
        return [slice(first, first + TOGETHER) for first in range(0, len(self.audio), TOGETHER)]

    def slowdown(self, asr: Recognizer, phrases: Sequence[Phrases], rounds: int) -> float:
        """How many times as long it takes with phrases as without, by turns; not a number without rounds."""
        none: list[Phrases] = [{}] * len(phrases)
        ratios = []
        for turn in range(rounds):
            seconds = {id(none): 0.0, id(phrases): 0.0}
            for number, some in enumerate(self.batches()):
                for each in (none, phrases) if (turn + number) % 2 else (phrases, none):
                    seconds[id(each)] += self._seconds(asr, some, each)
            ratios.append(seconds[id(phrases)] / seconds[id(none)])
        return median(ratios) if ratios else math.nan

    def _seconds(self, asr: Recognizer, some: slice, phrases: Sequence[Phrases]) -> float:
        """Of CPU time, without the engine's threads, so that the same streams make up every step."""
        driver = Driver(asr.runner, TOGETHER)
        for audio, boost in zip(self.audio[some], phrases[some], strict=True):
            stream = driver.open(asr.config.default_prompt, chunk_frames(1120))
            stream.boost = boost_tree(boost, asr.tokenizer)
            stream.feed(audio)
            stream.close()
        began = time.process_time()
        for _ in driver.drain():
            pass
        return time.process_time() - began

    def score(self, heard: Sequence[str]) -> tuple[float, float, float]:
        """Share of names missed, error rate of the other words, and of all, in percent."""
        said = [set(folded(text).split()) for text in heard]
        missed = sum(name.lower() not in found for names, found in zip(self.names, said, strict=True) for name in names)
        out = jiwer.process_words([folded(text) for text in self.texts], [folded(text) for text in heard])
        names, wrong, others = {name.lower() for name in self.all_names}, 0, 0
        for reference, chunks in zip(out.references, out.alignments, strict=True):
            for chunk in chunks:
                if chunk.type == "insert":
                    wrong += chunk.hyp_end_idx - chunk.hyp_start_idx
                    continue
                plain = [word for word in reference[chunk.ref_start_idx : chunk.ref_end_idx] if word not in names]
                others += len(plain)
                wrong += len(plain) * (chunk.type != "equal")
        return 100 * missed / sum(map(len, self.names)), 100 * wrong / others, 100 * out.wer


def absent_phrases(files: Sequence[Path], recordings: Recordings, count: int) -> list[str]:
    """Capitalised words of text files that no recording has."""
    said = {word for text in recordings.texts for word in folded(text).split()}
    found = {word for file in files for word in words(file.read_text(encoding="utf-8"))}
    chosen = sorted(word for word in found if len(word) >= 5 and word[0].isupper() and word.lower() not in said)
    return chosen[:: max(1, len(chosen) // count)][:count]


def main() -> None:
    """Reads the command line and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="JSON lines of recordings, with audio_filepath and text")
    parser.add_argument("--known", type=Path, required=True, help="manifest of the training data")
    parser.add_argument("--absent", type=Path, action="append", required=True, help="text to take absent phrases from")
    parser.add_argument("--model", default="tiny", help="what is measured; tiny unless given")
    parser.add_argument("--weight", type=float, action="append", help="weights to try; 1, 2 and 3 unless given")
    parser.add_argument("--rounds", type=int, default=3, help="of measuring the time; 3 unless given, 0 leaves it out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = options.known.read_text(encoding="utf-8").splitlines()
    known = Counter(word for line in lines for word in folded(json.loads(line)["text"]).split())
    recordings = Recordings(options.manifest, known)
    absent = absent_phrases(options.absent, recordings, 1000)
    try:
        asr = nemotron_asr.load(options.model)
    except NemotronError as error:
        parser.error(str(error))
    print(
        f"{sum(map(len, recordings.names))} names, {len(recordings.all_names)} different; {len(absent)} absent phrases"
    )
    print("| phrases | weight | names missed | WER elsewhere | WER | time |\n|---|---|---|---|---|---|")
    plain = recordings.transcribe(asr, [{}] * len(recordings.audio))
    print("| none | | {:.1f} % | {:.1f} % | {:.1f} % | 1 |".format(*recordings.score(plain)))
    for weight in options.weight or (1.0, 2.0, 3.0):
        lists: dict[str, list[dict[str, float]]] = {
            "their own names": [dict.fromkeys(names, weight) for names in recordings.names],
            f"all {len(recordings.all_names)} names": [dict.fromkeys(recordings.all_names, weight)] * len(plain),
            f"{len(absent)} absent": [dict.fromkeys(absent, weight)] * len(plain),
        }
        for title, phrases in lists.items():
            heard = recordings.transcribe(asr, phrases)  # the trees of phrases are built here, and kept
            figures = "{:.1f} % | {:.1f} % | {:.1f} %".format(*recordings.score(heard))
            slower = recordings.slowdown(asr, phrases, options.rounds)
            print(f"| {title} | {weight:g} | {figures} | {slower:.2f} |", flush=True)


if __name__ == "__main__":
    main()
