"""Says sentences that nobody has said, with the voices of people: by unit selection.

    python -m recipes.tiny.units --data WORK --sentences DATA/text --output WORK/spliced-units

Recordings are cut into halves of phones (`phones.py`). For each sentence those halves are chosen that stood among the
same phones and fit to one another (Hunt and Black, "Unit Selection in a Concatenative Speech Synthesis System Using a
Large Speech Database", ICASSP 1996): words that no recording has, in sounds that are all human. Writes
`OUTPUT/<speaker>-<locale>/*.flac` and the manifest `OUTPUT.jsonl`.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.audio import Samples, load
from recipes.tiny.manifests import Entry, unmeasured
from recipes.tiny.phones import FRAME, SILENCE, Features, Phone, Words, cepstra, label, pronounce
from recipes.tiny.splice import keep, read_speakers
from recipes.tiny.synthesize import LONGEST_SENTENCE
from recipes.tiny.text import clean, is_native

CANDIDATES = 30  # for each half of a phone
NEAR, FAR = 1.0, 0.4  # cost of another phone beside a half, and beyond its other half
AT_EDGE = 0.6  # cost of a half from the end of a sentence in the middle of one, or the other way round
EDGE = 4  # phones at the end of a sentence that are spoken slowly
CHANCE = 0.5  # random cost, so that not every sentence takes the same
CUT_IN_PHONE, CUT_BETWEEN = 0.7, 1.6  # cost of a cut in the middle of a phone, and between two
UNLIKE = 0.6  # cost of a unit of cepstral distance at a cut
FADE = 96  # samples over which two pieces are mixed
SLIDE = 64  # samples that the second may be moved by, so that their waves fit


@dataclass(frozen=True)
class Halves:
    """The halves of all phones of a speaker, in the order in which they were said. All arrays: (halves,)."""

    phone: NDArray[np.str_]
    second: NDArray[np.bool_]  # whether it is the phone's second half
    near: NDArray[np.str_]  # the phone that it borders on
    far: NDArray[np.str_]  # the phone beyond the other half
    at_edge: NDArray[np.bool_]  # whether it is close to the end of what was said
    clip: NDArray[np.int64]
    begin: NDArray[np.int64]  # frames
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.phone)


def halve(sentences: Sequence[Sequence[Phone]]) -> Halves:
    """Cut all phones of some clips in halves."""
    rows: list[tuple[Any, ...]] = []
    for clip, phones in enumerate(sentences):
        names = [SILENCE, *(phone.name for phone in phones), SILENCE]
        for index, phone in enumerate(phones):
            middle = (phone.begin + phone.end) // 2
            at_edge = index >= len(phones) - EDGE
            rows.append((phone.name, False, names[index], names[index + 2], at_edge, clip, phone.begin, middle))
            rows.append((phone.name, True, names[index + 2], names[index], at_edge, clip, middle, phone.end))
    return Halves(*(np.array(column) for column in zip(*rows, strict=True)))


def wanted(clauses: Sequence[Words]) -> list[Phone]:
    """The phones of a sentence with silence around every clause, without times."""
    names = [SILENCE, *(name for clause in clauses for name in (*(p for word in clause for p in word), SILENCE))]
    return [Phone(name, 0, 0) for name in names]


class Voice:
    """Somebody's recordings, out of which sentences are put together."""

    def __init__(self, clips: Sequence[Samples], texts: Sequence[Words], dice: np.random.Generator) -> None:
        """Find the phones of `clips`, in which `texts` are said."""
        rows = [cepstra(clip) for clip in clips]
        self.clips, self.dice = clips, dice
        self.halves = halve(label(rows, texts))
        self.at_begin, self.at_end = self._at_cuts(rows)
        kinds: dict[tuple[str, bool], list[int]] = {}
        for index, kind in enumerate(zip(self.halves.phone.tolist(), self.halves.second.tolist(), strict=True)):
            kinds.setdefault(kind, []).append(index)
        self.kinds = {kind: np.array(indices) for kind, indices in kinds.items()}

    def _at_cuts(self, rows: Sequence[Features]) -> tuple[Features, Features]:
        """(halves, 13) each: how it sounds where a half begins and where it ends, in standard deviations."""
        everything = np.concatenate(rows)
        scaled = [(clip - everything.mean(0)) / everything.std(0) for clip in rows]
        halves = self.halves
        places = zip(halves.clip, halves.begin, halves.end, strict=True)
        pairs = [(scaled[c][min(b, len(scaled[c]) - 1)], scaled[c][min(e, len(scaled[c]) - 1)]) for c, b, e in places]
        return np.array([begin for begin, _ in pairs]), np.array([end for _, end in pairs])

    def say(self, clauses: Sequence[Words]) -> Samples | None:
        """A sentence; None if it has a phone that the voice has never said."""
        target = halve([wanted(clauses)])
        if any(kind not in self.kinds for kind in zip(target.phone.tolist(), target.second.tolist(), strict=True)):
            return None
        return self._sound(self.choose(target))

    def choose(self, target: Halves) -> list[int]:
        """The halves for a sentence that cost least together, by Viterbi's algorithm."""
        candidates, costs = self._candidates(target, 0)
        ways: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for index in range(1, len(target)):
            following, own = self._candidates(target, index)
            joined = costs[:, None] + self._cut_costs(candidates, following, inside=bool(target.second[index]))
            ways.append((candidates, joined.argmin(0)))
            candidates, costs = following, joined.min(0) + own
        best = int(costs.argmin())
        chosen = [int(candidates[best])]
        for before, way in reversed(ways):
            best = int(way[best])
            chosen.append(int(before[best]))
        return chosen[::-1]

    def _candidates(self, target: Halves, index: int) -> tuple[NDArray[np.int64], Features]:
        """The likeliest halves for a place in a sentence and what each costs there."""
        halves, kind = self.halves, self.kinds[str(target.phone[index]), bool(target.second[index])]
        costs = CHANCE * self.dice.random(len(kind), dtype=np.float32)
        costs += NEAR * (halves.near[kind] != target.near[index]) + FAR * (halves.far[kind] != target.far[index])
        costs += AT_EDGE * (halves.at_edge[kind] != target.at_edge[index])
        if len(kind) > CANDIDATES:
            least = np.argpartition(costs, CANDIDATES)[:CANDIDATES]
            return kind[least], costs[least]
        return kind, costs

    def _cut_costs(self, before: NDArray[np.int64], after: NDArray[np.int64], *, inside: bool) -> Features:
        """(before, after): nothing where one followed the other when it was said."""
        halves = self.halves
        unlike = np.square(self.at_end[before][:, None] - self.at_begin[after]).mean(-1)
        costs = UNLIKE * np.sqrt(unlike) + (CUT_IN_PHONE if inside else CUT_BETWEEN)
        together = (before[:, None] + 1 == after) & (halves.clip[before][:, None] == halves.clip[after])
        return np.asarray(np.where(together, 0, costs), dtype=np.float32)

    def _sound(self, chosen: Sequence[int]) -> Samples:
        whole = np.zeros(0, dtype=np.float32)
        for clip, begin, end in self._runs(chosen):
            whole = lay(whole, self.clips[clip], begin * FRAME, end * FRAME)
        return whole

    def _runs(self, chosen: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(clip, first frame, end) of halves that were said one after the other."""
        halves, first = self.halves, chosen[0]
        for before, after in pairwise([*chosen, -2]):
            if after != before + 1 or halves.clip[after] != halves.clip[before]:
                yield int(halves.clip[first]), int(halves.begin[first]), int(halves.end[before])
                first = after


def lay(whole: Samples, clip: Samples, begin: int, end: int) -> Samples:
    """`whole` followed by `clip[begin:end]`, mixed where they meet, at the place where their waves are most alike."""
    if len(whole) < FADE:
        return np.concatenate((whole, clip[begin:end]))
    tail = whole[-FADE:]
    before = clip[max(begin - FADE - SLIDE, 0) : begin - FADE + SLIDE + FADE]
    if len(before) < FADE:
        return np.concatenate((whole, clip[begin:end]))
    windows = np.lib.stride_tricks.sliding_window_view(before, FADE)
    alike = windows @ tail / (np.linalg.norm(windows, axis=1) + 1e-3)
    start = max(begin - FADE - SLIDE, 0) + int(alike.argmax())
    ramp = np.linspace(0, 1, FADE, dtype=np.float32)
    mixed = tail * (1 - ramp) + clip[start : start + FADE] * ramp
    return np.concatenate((whole[:-FADE], mixed, clip[start + FADE : end]))


def sentences(folder: Path, locale: str, dice: random.Random) -> list[str]:
    """All sentences of a locale that can be written, in random order."""
    lines = (clean(line) for line in (folder / f"{locale}.txt").read_text(encoding="utf-8").splitlines())
    usable = [line for line in dict.fromkeys(lines) if len(line) <= LONGEST_SENTENCE and is_native(line, locale)]
    dice.shuffle(usable)
    return usable


def new_texts(texts: Sequence[str], locale: str, measured: Path) -> list[str]:
    """Those of `texts` that no clip of the manifest `measured` says."""
    return [entry["text"] for entry in unmeasured([{"target_lang": locale, "text": text} for text in texts], measured)]


def record(entries: Sequence[Entry], dice: np.random.Generator) -> Voice:
    """The voice of the speaker of some lines of a manifest."""
    texts = [
        [word for clause in pronounce(entry["text"], entry["target_lang"]) for word in clause] for entry in entries
    ]
    return Voice([load(entry["audio_filepath"]) for entry in entries], texts, dice)


def speak(voice: Voice, texts: Sequence[str], folder: Path, like: Entry) -> Iterator[Entry]:
    """Write sentences into `folder`; gives the lines of a manifest beside it, about a speaker `like` that."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        samples = voice.say(pronounce(text, like["target_lang"]))
        if samples is not None:
            yield keep(folder / f"{number:05d}.flac", samples, text, like, "units")


def main() -> None:
    """Reads the command line and speaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of human.jsonl")
    parser.add_argument("--sentences", type=Path, required=True, help="folder of <locale>.txt, a sentence a line")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6000, help="sentences of a speaker")
    parser.add_argument("--repeat", type=int, default=1, help="how often each is said, as chance will have it")
    parser.add_argument("--locales", nargs="+", help="of the speakers; all unless given")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with options.output.with_suffix(".jsonl").open("w", encoding="utf-8") as manifest:
        for name, entries in sorted(read_speakers(options.data / "human.jsonl").items()):
            if options.locales and entries[0]["target_lang"] not in options.locales:
                continue
            texts = sentences(options.sentences, entries[0]["target_lang"], random.Random(name))
            texts = new_texts(texts, entries[0]["target_lang"], options.data / "dev.jsonl")
            voice = record(entries, np.random.default_rng(list(name.encode())))
            for line in speak(voice, (texts * options.repeat)[: options.count], options.output / name, entries[0]):
                manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
