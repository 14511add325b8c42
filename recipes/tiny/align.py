"""Finds where the words of a recording begin and end, with the letters' head of a model in training."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.augment import Samples
from nemotron_asr.training.data import Bucket, collate
from nemotron_asr.training.objective import Objective, ObjectiveConfig
from nemotron_asr.training.spelling import SLOTS, Spelling
from nemotron_asr.training.state import take, trained
from nemotron_asr.training.trainer import LAST, read_checkpoint
from recipes.tiny.train import CONFIG


def align(log_probs: NDArray[np.float32], letters: Sequence[int]) -> list[int]:
    """The slots in which `letters` are heard on CTC's most likely path (Graves et al. 2006), by Viterbi's algorithm.

    Args:
        log_probs: (slots, letters) with CTC's blank as letter 0; as many slots as letters at least.
        letters: at least one.
    """
    states = np.zeros(2 * len(letters) + 1, dtype=np.int64)
    states[1::2] = letters
    skippable = np.zeros(len(states), dtype=bool)
    skippable[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf, dtype=np.float32)
    best[0] = 0
    steps = np.zeros((len(log_probs), len(states)), dtype=np.int64)
    for slot, row in enumerate(log_probs):
        one = np.r_[-np.inf, best[:-1]]
        two = np.where(skippable, np.r_[-np.inf, -np.inf, best[:-2]], -np.inf)
        ways = np.stack((best, one, two))
        steps[slot] = ways.argmax(0)
        best = (ways.max(0) + row[states]).astype(np.float32)
    state = len(states) - 1 - int(best[-2] > best[-1])
    heard = [0] * len(letters)
    for slot in range(len(log_probs) - 1, -1, -1):
        if state % 2:
            heard[state // 2] = slot
        state -= int(steps[slot, state])
    return heard


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
