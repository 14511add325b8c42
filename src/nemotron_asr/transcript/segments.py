"""Tokens -> segments, and what they may have been instead."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Alternative, Segment
from nemotron_asr.languages import AUTO
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript.words import characters, is_spoken, words

MOST_ALTERNATIVES = 10
"""Alternatives that a segment has."""


def segment_of(
    tokens: Sequence[Emission],
    tag: Emission | None,
    tokenizer: Tokenizer,
    language: str,
    *,
    keep_tag: bool,
    floor: int,
    duration: float,
) -> Segment:
    """One segment.

    Args:
        tokens: its tokens, one of which is heard.
        tag: the language tag that ends it.
        tokenizer: names the pieces.
        language: the locale that was asked for, or "auto" to take it from the tag.
        keep_tag: leave the tag in the text.
        floor: the frame before which no word begins.
        duration: seconds of audio, in which all words lie.
    """
    written = characters(tokenizer, tokens)
    named = tokenizer.language_tags[tag.token] if tag else None
    spoken_in = named if language == AUTO else language
    said = words(written, tokens, spoken_in, floor, duration)
    text = "".join(character for character, _ in written)
    shown = f"{text.strip()} {tokenizer.piece(tag.token)}" if tag and keep_tag else text.strip()
    sure = round(fmean(word.confidence for word in said), 4)
    found = round(math.exp(tag.logprob), 4) if tag and language == AUTO else None
    ends = said[0].start, said[-1].end
    return Segment(*ends, shown, spoken_in, sure, tuple(said), text[0].isspace(), language_confidence=found)


def with_alternatives(
    segment: Segment, tokens: Sequence[Emission], tokenizer: Tokenizer, make: Callable[[Sequence[Emission]], Segment]
) -> Segment:
    """The segment with what else a beam took for likely, the likeliest first.

    Args:
        segment: made of the tokens.
        tokens: some of which were chosen from several.
        tokenizer: names the pieces.
        make: makes a segment of other tokens.
    """
    found: dict[str, Alternative] = {}
    for score, others in _variants(tokens):
        if any(each.token in tokenizer.language_tags for each in others):
            continue
        if any(is_spoken(tokenizer.text(each.token)) for each in others):
            other = make(others)
            if other.text != segment.text and (other.text not in found or found[other.text].score < score):
                found[other.text] = Alternative(round(score, 4), other)
    best = sorted(found.values(), key=lambda alternative: -alternative.score)[:MOST_ALTERNATIVES]
    return replace(segment, alternatives=tuple(best)) if best else segment


def _variants(tokens: Sequence[Emission]) -> Iterator[tuple[float, list[Emission]]]:
    """All tokens with those of one place exchanged, and the score of that."""
    for place, token in enumerate(tokens):
        for variant in token.instead:
            rest = tokens[place + variant.replaced :]
            yield variant.score, [*tokens[:place], *variant.emissions, *rest]
