"""Word error rate of a model in training: greedy decoding of whole clips, the language left to the model."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jiwer
import torch

from nemotron_asr.decoding.greedy import greedy, initial_state
from nemotron_asr.languages import TAG
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Bucket, Item, collate
from nemotron_asr.training.objective import Objective

ROWS = 16


@dataclass(frozen=True)
class Hypothesis:
    """What was said, what was heard, and in which language."""

    language: str
    reference: str
    text: str
    detected: str


@dataclass(frozen=True)
class Score:
    """Fractions: word error rate over all words and per language, and how often the language was found."""

    wer: float
    languages: Mapping[str, float]
    detected: float

    def __str__(self) -> str:
        each = " ".join(f"{language} {wer:.1%}" for language, wer in self.languages.items())
        return f"WER {self.wer:.1%} ({each}), language right {self.detected:.1%}"


def normalise(text: str) -> str:
    """Lower case without punctuation; what is compared are words."""
    return " ".join(re.sub(r"[^\w\s']", " ", text.casefold()).split())


@torch.inference_mode()
def transcribe(
    objective: Objective, tokenizer: Tokenizer, items: Sequence[Item], prompt: int, lookahead: int
) -> list[Hypothesis]:
    """Decode clips, the longest first, in small batches."""
    objective.eval()
    ordered = sorted(items, key=lambda item: -item.samples)
    found = []
    for start in range(0, len(ordered), ROWS):
        rows = ordered[start : start + ROWS]
        tokens = [item.example.tokens for item in rows]
        shape = Bucket(rows[0].samples, max(map(len, tokens)), len(rows), list(rows))
        batch = collate([item.load() for item in rows], tokens, [prompt] * len(rows), shape, lookahead)
        batch = batch.to(next(objective.parameters()).device)
        frames, valid = objective.encode(*objective.mel(batch, None), lookahead)
        transducer = objective.model.transducer
        fused = objective.model.prompt(frames.float(), batch.prompts)
        said, _ = greedy(transducer, fused, valid, initial_state(transducer, len(rows)))
        for item, emissions in zip(rows, said, strict=True):
            text = tokenizer.decode([emission.token for emission in emissions])
            tags = TAG.findall(text)
            clip = item.example.clip
            found.append(Hypothesis(clip.language, clip.text, TAG.sub(" ", text).strip(), tags[-1] if tags else ""))
    objective.train()
    return found


def score(hypotheses: Sequence[Hypothesis]) -> Score:
    """Word error rates of normalised texts; a reference without words is left out."""
    pairs = [(h, normalise(h.reference)) for h in hypotheses if normalise(h.reference)]
    languages = [language for language, _ in Counter(h.language for h, _ in pairs).most_common()]

    def wer(chosen: Sequence[tuple[Hypothesis, str]]) -> float:
        return float(jiwer.wer([r for _, r in chosen], [normalise(h.text) for h, _ in chosen]))

    each = {language: wer([p for p in pairs if p[0].language == language]) for language in languages}
    right = sum(h.detected == h.language for h in hypotheses) / len(hypotheses)
    return Score(wer(pairs), each, right)
