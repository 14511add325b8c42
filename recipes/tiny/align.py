"""Finds where the words of a recording begin and end, with the letters' head of a model in training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Bucket, collate
from nemotron_asr.training.objective import Objective, ObjectiveConfig
from nemotron_asr.training.spelling import SLOTS, Spelling
from nemotron_asr.training.state import take, trained
from nemotron_asr.training.trainer import LAST, read_checkpoint
from recipes.tiny.train import CONFIG


def _best_path(scores: NDArray[np.float32], skippable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The most likely way through states that follow one another, by Viterbi's algorithm.

    Args:
        scores: (steps, states) log-likelihoods. A way begins in one of the first two states, ends in one of the last.
        skippable: (states,) whether the state before may be left out on the way to this one.

    Returns:
        (steps,) the state of each step.
    """
    steps, states = scores.shape
    best = np.full(states, -np.inf)
    best[0] = 0
    moves = np.zeros(scores.shape, dtype=np.int8)
    for step in range(steps):
        for state in range(states - 1, -1, -1):  # the last first: those before it still have the last step's score
            if state > 0 and best[state - 1] > best[state]:
                moves[step, state], best[state] = 1, best[state - 1]
            if skippable[state] and best[state - 2] > best[state]:
                moves[step, state], best[state] = 2, best[state - 2]
            best[state] += scores[step, state]
    state = states - 1 - int(best[-2] > best[-1])
    path = np.zeros(steps, dtype=np.int64)
    for step in range(steps - 1, -1, -1):
        path[step] = state
        state -= moves[step, state]
    return path


best_path: Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.int64]] = njit(_best_path)


def align(log_probs: NDArray[np.float32], letters: Sequence[int]) -> list[int]:
    """The slots in which `letters` are heard on CTC's most likely path (Graves et al. 2006).

    Args:
        log_probs: (slots, letters) with CTC's blank as letter 0; as many slots as letters at least.
        letters: at least one.
    """
    states = np.zeros(2 * len(letters) + 1, dtype=np.int64)
    states[1::2] = letters
    skippable = np.zeros(len(states), dtype=bool)
    skippable[3::2] = states[3::2] != states[1:-2:2]
    path = best_path(log_probs[:, states], skippable)
    return [int(np.flatnonzero(path == state)[0]) for state in range(1, len(states), 2)]


class Aligner:
    """A model in training that knows where letters are."""

    def __init__(self, run: Path, tokenizer: Tokenizer) -> None:
        """Take the averaged weights of a run of `recipes.tiny.train`."""
        self.spelling, self.tokenizer = Spelling(tokenizer), tokenizer
        self.objective = Objective(NemotronASR(CONFIG), self.spelling, ObjectiveConfig(), None).eval()
        take(dict(trained(self.objective)), read_checkpoint(run / LAST)["average"], run)

    def spans(self, samples: Samples, words: Sequence[str]) -> list[tuple[float, float]]:
        """Seconds of the first and the last letter of every word; nothing where the words do not fit the audio.

        Args:
            samples: 16 kHz, (samples,).
            words: what is said.
        """
        spelled = [self._spell(word) for word in words]
        log_probs = self._letters(samples)
        if not all(spelled) or 2 * sum(map(len, spelled)) > len(log_probs):
            return []
        heard = np.array(align(log_probs, [letter for word in spelled for letter in word]))
        seconds = (heard + 0.5) * len(samples) / SAMPLE_RATE / len(log_probs)
        last = np.cumsum([len(word) for word in spelled]) - 1
        first = np.r_[0, last[:-1] + 1]
        return list(zip(seconds[first].tolist(), seconds[last].tolist(), strict=True))

    def _spell(self, word: str) -> list[int]:
        tokens = torch.tensor([self.tokenizer.encode(word)])
        letters, _ = self.spelling.targets(tokens, torch.tensor([tokens.shape[1]]))
        return [int(letter) for letter in letters]

    @torch.inference_mode()
    def _letters(self, samples: Samples) -> NDArray[np.float32]:
        """(slots, letters) log-probabilities."""
        shape = Bucket(len(samples) + SAMPLE_RATE // 5, 1, 1, [])  # room for the last frame
        batch = collate([samples], [[0]], [0], shape, max(CONFIG.lookaheads))
        frames, lengths = self.objective.encode(*self.objective.mel(batch, None), batch.lookahead)
        head = cast("nn.Linear", self.objective.ctc)
        scores: Tensor = head(frames[0, : int(lengths)]).unflatten(-1, (SLOTS, -1)).flatten(0, 1)
        return np.asarray(scores.log_softmax(-1))
