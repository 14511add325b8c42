"""Word error rate of a model in training: greedy decoding of whole clips, the language left to the model or given."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from nemotron_asr.decoding.greedy import greedy, initial_state
from nemotron_asr.evaluation.normalisation import units
from nemotron_asr.evaluation.scoring import Counts, align, count, total
from nemotron_asr.languages import AUTO, TAG
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
    detected: str | None  # "": none; None: the model has no tags to name one with


@dataclass(frozen=True)
class Score:
    """Fractions: word error rate over all words and per language, and how often the language was found."""

    wer: float
    languages: Mapping[str, float]
    detected: float | None  # None: the model cannot name one

    def __str__(self) -> str:
        each = " ".join(f"{language} {wer:.1%}" for language, wer in self.languages.items())
        found = "" if self.detected is None else f", language right {self.detected:.1%}"
        return f"WER {self.wer:.1%} ({each}){found}"


@torch.inference_mode()
def transcribe(
    objective: Objective, tokenizer: Tokenizer, items: Sequence[Item], lookahead: int, modes: Sequence[str] = (AUTO,)
) -> dict[str, list[Hypothesis]]:
    """Decode clips, the longest first, in small batches: in mode "auto", in mode "language", or both."""
    was_training = objective.training
    objective.eval()
    ordered = sorted(items, key=lambda item: -item.samples)
    found: dict[str, list[Hypothesis]] = {mode: [] for mode in modes}
    for start in range(0, len(ordered), ROWS):
        rows = ordered[start : start + ROWS]
        for mode, texts in _decode(objective, tokenizer, rows, lookahead, modes).items():
            found[mode] += [_hypothesis(item, text, tokenizer) for item, text in zip(rows, texts, strict=True)]
    objective.train(was_training)
    return found


def _decode(
    objective: Objective, tokenizer: Tokenizer, rows: list[Item], lookahead: int, modes: Sequence[str]
) -> dict[str, list[str]]:
    """The texts of one batch in every mode: the encoder, which knows of no language, hears it once."""
    model = objective.model
    tokens, prompts = [item.example.tokens for item in rows], [item.example.prompt for item in rows]
    shape = Bucket(rows[0].samples, max(map(len, tokens)), len(rows), rows)
    batch = collate([item.load() for item in rows], tokens, prompts, shape, lookahead)
    batch = batch.to(next(objective.parameters()).device)
    frames, valid = objective.encode(*objective.mel(batch, None), lookahead)
    auto = torch.full_like(batch.prompts, model.config.default_prompt)
    texts = {}
    for mode in modes:
        fused = model.prompt(frames.float(), auto if mode == AUTO else batch.prompts)
        said, _ = greedy(model.transducer, fused, valid, initial_state(model.transducer, len(rows)))
        texts[mode] = [tokenizer.decode([emission.token for emission in emissions]) for emissions in said]
    return texts


def _hypothesis(item: Item, text: str, tokenizer: Tokenizer) -> Hypothesis:
    tags, clip = TAG.findall(text), item.example.clip
    detected = (tags[-1] if tags else "") if tokenizer.language_tags else None
    return Hypothesis(clip.language, clip.text, TAG.sub(" ", text).strip(), detected)


def score(hypotheses: Sequence[Hypothesis]) -> Score:
    """Error rates as in an evaluation, of words or characters; a reference without words is left out."""
    counted = [(h.language, _counts(h)) for h in hypotheses if units(h.reference, h.language)]
    languages = [language for language, _ in Counter(language for language, _ in counted).most_common()]
    each = {name: total(counts for language, counts in counted if language == name).rate for name in languages}
    right = [h.detected == h.language for h in hypotheses if h.detected is not None]
    return Score(total(counts for _, counts in counted).rate, each, sum(right) / len(right) if right else None)


def _counts(heard: Hypothesis) -> Counts:
    return count(align(units(heard.reference, heard.language), units(heard.text, heard.language)))
