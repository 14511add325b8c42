"""Says new sentences with the voices of old ones: words are cut out of recordings and put together anew.

    python -m recipes.tiny.splice --data WORK --run WORK/run --output WORK/spliced

A model with few hours to learn from learns their sentences by heart. Among words in any order it has to listen (Lam et
al., "On-the-Fly Aligned Data Augmentation for Sequence-to-Sequence ASR", Interspeech 2021). Writes
`OUTPUT/<speaker>-<locale>/*.flac` and the manifest `OUTPUT.jsonl`.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nemotron_asr.audio import Samples, load
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.tokenizer import Tokenizer
from recipes.tiny.align import Aligner
from recipes.tiny.manifests import Entry, read
from recipes.tiny.synthesize import write_flac

STEP = SAMPLE_RATE // 100  # samples; loudness is measured this often
QUIET = 0.07  # of a clip's loud parts: words are cut apart only where it is at most that loud
FADE = SAMPLE_RATE // 100  # samples over which two pieces are mixed
LENGTH_SECONDS = (1.5, 7.0)  # of a sentence, before its last piece
LEAD_SHARE, LEAD_SECONDS = 0.25, (0.3, 2.5)  # how often the speaker waits before the first word, and how long
PAUSE_SHARE, PAUSE_SECONDS = 0.2, (0.2, 0.8)  # the same between two pieces
STOPS = ".?!"


@dataclass(frozen=True)
class Piece:
    """Words of one recording that stand between two quiet moments."""

    words: tuple[str, ...]
    samples: Samples


def loudness(samples: Samples) -> NDArray[np.float32]:
    """Root mean square in every hundredth of a second."""
    whole = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    return np.asarray(np.sqrt(np.mean(np.square(whole), axis=1)))


def pieces(samples: Samples, words: Sequence[str], spans: Sequence[tuple[float, float]]) -> Iterator[Piece]:
    """Cut a recording apart at every boundary of words that is quiet; `spans` as `Aligner.spans` gives them."""
    loud = loudness(samples)
    limit = QUIET * float(np.quantile(loud, 0.9))
    begin, since = 0, 0
    for index, ((_, end), (following, _)) in enumerate(pairwise(spans), start=1):
        between = loud[int(end * 100) : int(following * 100) + 1]
        if not len(between) or between.min() > limit:
            continue
        cut = (int(end * 100) + int(between.argmin())) * STEP + STEP // 2
        yield Piece(tuple(words[since:index]), samples[begin:cut])
        begin, since = cut, index
    yield Piece(tuple(words[since:]), samples[begin:])


def join(parts: Sequence[Samples]) -> Samples:
    """One after the other, each mixed with the next over `FADE` samples."""
    ramp = np.linspace(0, 1, FADE, dtype=np.float32)
    whole = parts[0].copy()
    for part in parts[1:]:
        whole[-FADE:] = whole[-FADE:] * (1 - ramp) + part[:FADE] * ramp
        whole = np.concatenate((whole, part[FADE:]))
    return whole


def hush(seconds: float, like: Samples, dice: random.Random) -> Samples:
    """Noise as faint as the quietest moments of `like`."""
    noise = np.random.default_rng(dice.getrandbits(32)).standard_normal(int(seconds * SAMPLE_RATE), dtype=np.float32)
    return noise * max(float(np.quantile(loudness(like), 0.02)), 1e-4)


class Splicer:
    """Puts the pieces of one speaker together."""

    def __init__(self, stock: Sequence[Piece], dice: random.Random) -> None:
        self.stock, self.dice = [piece for piece in stock if len(piece.samples) > 2 * FADE], dice
        self.known = Counter(word for piece in stock for word in piece.words[1:])  # as written inside of sentences

    def draw(self) -> Piece:
        """Pieces in any order, up to a random length, as one sentence."""
        wanted = self.dice.uniform(*LENGTH_SECONDS)
        drawn: list[Piece] = []
        while not drawn or sum(len(piece.samples) for piece in drawn) < wanted * SAMPLE_RATE:
            drawn.append(self.dice.choice(self.stock))
        return Piece(tuple(self._write(drawn)), join(list(self._sound(drawn))))

    def _sound(self, drawn: Sequence[Piece]) -> Iterator[Samples]:
        if self.dice.random() < LEAD_SHARE:
            yield hush(self.dice.uniform(*LEAD_SECONDS), drawn[0].samples, self.dice)
        for index, piece in enumerate(drawn):
            if index and self.dice.random() < PAUSE_SHARE:
                yield hush(self.dice.uniform(*PAUSE_SECONDS), piece.samples, self.dice)
            yield piece.samples

    def _write(self, drawn: Sequence[Piece]) -> list[str]:
        """The words as one sentence: a capital at its beginning, a stop at its end, none in between."""
        *rest, last = (word for piece in drawn for word in piece.words)
        amid = [self._amid(word.rstrip(STOPS)) for word in rest]
        whole = [*amid, last if last[-1] in STOPS else last.rstrip(",;:-") + "."]
        return [whole[0][0].upper() + whole[0][1:], *whole[1:]]

    def _amid(self, word: str) -> str:
        small = word[0].lower() + word[1:]
        return small if self.known[small] > self.known[word] else word


def read_speakers(manifest: Path) -> dict[str, list[Entry]]:
    """The entries of a manifest by speaker and locale, whose name is that of a folder."""
    speakers: dict[str, list[Entry]] = defaultdict(list)
    for entry in read(manifest):
        speakers[f"{entry['speaker']}-{entry['target_lang']}"].append(entry)
    return speakers


def cut_up(entries: Sequence[Entry], aligner: Aligner) -> list[Piece]:
    """All pieces of some recordings."""
    stock: list[Piece] = []
    for entry in entries:
        samples, words = load(entry["audio_filepath"]), entry["text"].split()
        if spans := aligner.spans(samples, words):
            stock += pieces(samples, words, spans)
    return stock


def say(splicer: Splicer, count: int, folder: Path, like: Entry) -> Iterator[Entry]:
    """Write `count` sentences into `folder`; gives the lines of a manifest beside it, about a speaker `like` that."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        sentence = splicer.draw()
        yield keep(folder / f"{number:05d}.flac", sentence.samples, " ".join(sentence.words), like, "spliced")


def keep(path: Path, samples: Samples, text: str, like: Entry, source: str) -> Entry:
    """Write a clip; gives its line for a manifest beside the folder of all speakers, about a speaker `like` that."""
    write_flac(path, samples)
    return {
        "audio_filepath": path.relative_to(path.parents[2]).as_posix(),
        "duration": round(len(samples) / SAMPLE_RATE, 3),
        "text": text,
        **{key: like[key] for key in ("target_lang", "speaker", "licence")},
        "source": source,
    }


def main() -> None:
    """Reads the command line and speaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of human.jsonl and tokenizer.model")
    parser.add_argument("--run", type=Path, required=True, help="of recipes.tiny.train; its model finds the words")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rate", type=int, default=5000, help="sentences for an hour of a speaker's recordings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    aligner = Aligner(options.run, Tokenizer.from_sentencepiece((options.data / "tokenizer.model").read_bytes()))
    lines: list[Entry] = []
    for speaker, entries in sorted(read_speakers(options.data / "human.jsonl").items()):
        stock = cut_up(entries, aligner)
        hours = sum(len(piece.samples) for piece in stock) / SAMPLE_RATE / 3600
        print(f"{speaker}: {len(entries)} recordings, {hours:.2f} h, {len(stock)} pieces", flush=True)
        splicer = Splicer(stock, random.Random(speaker))
        lines += say(splicer, int(options.rate * hours), options.output / speaker, entries[0])
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    options.output.with_suffix(".jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
