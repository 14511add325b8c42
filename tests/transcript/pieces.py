"""A tokenizer of a few pieces, and what a model might say with them."""

from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers
from hypothesis import strategies as st
from tokenizers.models import Unigram

from nemotron_asr.audio.activity import SURE, WINDOW, Edge
from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Event, Final, Segment
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript import Transcript, TranscriptBuilder, Voice, collect

PIECES = (
    "<unk> <de-DE> <ja-JP> <haw-US> ▁ . , ! ▁Hal lo ▁wel t ▁wie ▁geht s 日 本 語 を ー 「 」 "
    "▁กา ี น ▁한 국 어 ’ ▁naï ve e\u0301 。 ▁¿ ▁. .lo 日本語 ท ำ น้ เ ป็ ຳ ໄ ປ"
).split()
TAGS = {1: "de-DE", 2: "ja-JP", 3: "haw-US"}
TOKENIZER = Tokenizer(tokenizers.Tokenizer(Unigram([(piece, -1.0) for piece in PIECES], unk_id=0)))


def said(text: str, *, gap: int = 2, start: int = 5, logprob: float = -0.1) -> list[Emission]:
    """Emissions of pieces written with spaces between them, one every `gap` frames; a number is a longer pause."""
    emissions, frame = [], start
    for piece in text.split():
        if piece.isdigit():
            frame += int(piece)
        else:
            emissions.append(Emission(PIECES.index(piece), frame, logprob))
            frame += gap
    return emissions


def events(
    emissions: Sequence[Emission],
    frames: int,
    step: int,
    edges: Iterable[Edge] | None = None,
    chunk: int = 1,
    **options: Any,
) -> list[Event]:
    """What a builder tells when the frames come `step` at a time, and the voice as soon as it can be known."""
    builder = TranscriptBuilder(TOKENIZER, voice=None if edges is None else Voice(), **options)
    told: list[Event] = []
    waiting = [edge for edge in edges or () if edge.known <= frames * 1280]
    for first in range(0, frames, step):
        known = [edge for edge in waiting if edge.known <= (first + step) * 1280]
        waiting = waiting[len(known) :]
        told += builder.hear(known)
        until = min(frames, first + step)
        ends = range((first + chunk - 1) // chunk * chunk + chunk, until + chunk, chunk)  # of the chunks that begin
        told += builder.push([e for e in emissions if first <= e.frame < until], until, ends=ends)
    return told + list(builder.hear(waiting)) + list(builder.finish(frames * FRAME_SECONDS))


def transcript(text: str, **options: Any) -> Transcript:
    """What is said of pieces that follow each other."""
    emissions = said(text)
    frames = emissions[-1].frame + 20
    told = events(emissions, frames, 4, **options)
    return collect(told, frames * FRAME_SECONDS, None, str(options.get("language", "auto")))


def finals(told: Iterable[Event]) -> list[Segment]:
    """The segments."""
    return [event.segment for event in told if isinstance(event, Final)]


def voice(*spans: tuple[int, int]) -> list[Edge]:
    """The edges of a voice that is on from one frame to another."""
    edges = []
    for span in spans:
        for frame, on in zip(span, (True, False), strict=True):
            window = round(frame * 1280 / WINDOW)
            edges.append(Edge(window * WINDOW, (window + SURE) * WINDOW, on))
    return edges


@st.composite
def speech(draw: st.DrawFn) -> list[Emission]:
    """Tokens of any kind in any order, many to a frame."""
    emissions, frame = [], 0
    for token, gap in draw(st.lists(st.tuples(st.integers(0, len(PIECES) - 1), st.integers(0, 14)), max_size=60)):
        frame += gap
        emissions.append(Emission(token, frame, -0.5))
    return emissions


@st.composite
def voices(draw: st.DrawFn) -> list[Edge] | None:
    """Voice here and there; or nobody who listens to it."""
    lengths = draw(st.none() | st.lists(st.integers(SURE + 1, 60), max_size=12))
    if lengths is None:
        return None
    places = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [Edge(place * WINDOW, (place + SURE) * WINDOW, i % 2 == 0) for i, place in enumerate(places)]
