"""Finds every phone of a speaker's recordings to the hundredth of a second, from their texts alone.

espeak-ng says which phones a text has. A hidden Markov model of three Gaussian states a phone begins with all clips cut
evenly and is trained on its own best paths: as voices for unit selection are labelled (Black and Lenzo, "Building
Synthetic Voices", 2003).
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nemotron_asr.audio import Samples
from nemotron_asr.config import ModelConfig
from nemotron_asr.features import N_FFT, LogMel
from recipes.tiny.align import best_path
from recipes.tiny.synthesize import VOICES, run

Features = NDArray[np.float32]

SILENCE = "_"
FRAME = 160  # samples
STATES = 3  # of a phone; silence has one
CEPSTRA = 13
ROUNDS = 12  # of training
LEAST_VARIANCE = 0.05  # of features that vary by 1
STRESS = str.maketrans("", "", "\N{MODIFIER LETTER VERTICAL LINE}\N{MODIFIER LETTER LOW VERTICAL LINE}")

Words = list[list[str]]
"""The phones of words."""


def pronounce(text: str, locale: str) -> list[Words]:
    """The phones of a text by espeak-ng, clause by clause and word by word, without stress.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
    """
    said = run(["espeak-ng", "-v", VOICES[locale], "-q", "--ipa", "--sep=_", "--stdin"], text).decode()
    clauses = [[_phones(word) for word in line.split()] for line in said.splitlines()]
    return [[word for word in clause if word] for clause in clauses if any(clause)]


def _phones(word: str) -> list[str]:
    """Without espeak-ng's marks of a change of language, "(en)"."""
    phones = (phone.translate(STRESS) for phone in word.split("_"))
    return [phone for phone in phones if phone and "(" not in phone]


def cepstra(samples: Samples) -> Features:
    """(samples / 160, 13) mel cepstra, one row around every hundredth of a second."""
    padded = torch.from_numpy(np.pad(samples, (N_FFT // 2 + 1, N_FFT)))[None]
    log_mel = LogMel(ModelConfig())(padded, torch.tensor([-N_FFT // 2]), torch.tensor([len(samples)]))
    bands = log_mel.shape[-1]
    cosines = np.cos(np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(CEPSTRA))
    return np.asarray(log_mel[0, : len(samples) // FRAME].numpy() @ cosines, dtype=np.float32)


def with_slopes(rows: Features) -> Features:
    """(frames, 39): cepstra, their first and second differences over time."""
    first = np.gradient(rows, axis=0)
    return np.concatenate((rows, first, np.gradient(first, axis=0)), axis=1)


@dataclass(frozen=True)
class Phone:
    """A phone and the frames in which it is heard."""

    name: str
    begin: int
    end: int


class PhoneModel:
    """A Gaussian for each state of each phone."""

    def __init__(self, names: Iterable[str]) -> None:
        states = [(SILENCE, 0), *((name, state) for name in sorted(set(names)) for state in range(STATES))]
        self.index = {state: row for row, state in enumerate(states)}
        self.means = np.zeros((len(states), 3 * CEPSTRA), dtype=np.float32)
        self.variances = np.ones_like(self.means)

    def chain(self, words: Words) -> tuple[list[tuple[str, int]], NDArray[np.bool_]]:
        """The states of an utterance and which of them may be entered past the silence before: every word's first."""
        states, skippable = [(SILENCE, 0)], [False]
        for word in words:
            own = [(phone, state) for phone in word for state in range(STATES)]
            states += [*own, (SILENCE, 0)]
            skippable += [len(states) > len(own) + 2, *[False] * len(own)]
        return states, np.array(skippable)

    def rows(self, states: Sequence[tuple[str, int]]) -> NDArray[np.int64]:
        """The numbers of states."""
        return np.array([self.index[state] for state in states])

    def path(self, features: Features, words: Words) -> NDArray[np.int64]:
        """(frames,) indices into `chain(words)`."""
        states, skippable = self.chain(words)
        return best_path(self.scores(features)[:, self.rows(states)], skippable)

    def scores(self, features: Features) -> Features:
        """(frames, states) log-densities."""
        inverse = 1 / self.variances
        square = np.square(features) @ inverse.T - 2 * features @ (self.means * inverse).T
        return np.asarray(-0.5 * (square + (np.square(self.means) * inverse + np.log(self.variances)).sum(1)))

    def learn(self, features: Sequence[Features], rows: Sequence[NDArray[np.int64]]) -> None:
        """Fit each state to the frames that are said to be its own; one without frames stays as it is."""
        frames, owners = np.concatenate(features), np.concatenate(rows)
        for row in np.unique(owners):
            own = frames[owners == row]
            self.means[row] = own.mean(0)
            self.variances[row] = np.maximum(own.var(0), LEAST_VARIANCE)


def evenly(model: PhoneModel, features: Features, words: Words) -> NDArray[np.int64]:
    """The first guess: faint frames at both ends are silence, the others are shared out evenly."""
    loud = np.flatnonzero(features[:, 0] > np.quantile(features[:, 0], 0.15))
    inner = [(phone, state) for word in words for phone in word for state in range(STATES)]
    rows = np.full(len(features), model.index[SILENCE, 0])
    begin, end = loud[0], loud[-1] + 1
    rows[begin:end] = model.rows(inner)[np.arange(end - begin) * len(inner) // (end - begin)]
    return rows


def segments(path: NDArray[np.int64], states: Sequence[tuple[str, int]]) -> list[Phone]:
    """The phones and silences along a path, each with its frames."""
    phones: list[Phone] = []
    begin = 0
    for name, group in itertools.groupby(_numbered(path, states)):
        end = begin + sum(1 for _ in group)
        phones.append(Phone(name[0], begin, end))
        begin = end
    return phones


def _numbered(path: NDArray[np.int64], states: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """For each frame the phone's name and where in the chain it begins, for the same phone may come twice in a row."""
    return [(states[state][0], int(state) - states[state][1]) for state in path]


def label(clips: Sequence[Features], texts: Sequence[Words], rounds: int = ROUNDS) -> list[list[Phone]]:
    """The phones of all clips of one speaker.

    Args:
        clips: `cepstra` of each.
        texts: what is said in each. A clip too short for its phones has no phones.
    """
    everything = np.concatenate([with_slopes(clip) for clip in clips])
    mean, spread = everything.mean(0), everything.std(0)
    model = PhoneModel(phone for words in texts for word in words for phone in word)
    usable = [sum(map(len, words)) * STATES + 4 < len(clip) for clip, words in zip(clips, texts, strict=True)]
    features = [(with_slopes(clip) - mean) / spread for clip, fits in zip(clips, usable, strict=True) if fits]
    spoken = [words for words, fits in zip(texts, usable, strict=True) if fits]
    rows = [evenly(model, one, words) for one, words in zip(features, spoken, strict=True)]
    for _ in range(rounds):
        model.learn(features, rows)
        paths = [model.path(one, words) for one, words in zip(features, spoken, strict=True)]
        rows = [model.rows(model.chain(words)[0])[path] for path, words in zip(paths, spoken, strict=True)]
    found = iter([segments(path, model.chain(words)[0]) for path, words in zip(paths, spoken, strict=True)])
    return [next(found) if fits else [] for fits in usable]
