"""How a stream or a recording is to be heard, as its user says it."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TypedDict

from nemotron_asr.postprocess import Postprocess


class Options(TypedDict, total=False):
    """Keyword arguments of `transcribe`, `transcribe_many`, `stream` and `Engine.open`; all of them have defaults.

    Attributes:
        language: a locale or alias, or "auto" (the default) to have the model find out.
        languages: with "auto", the only ones that it may find; one alone is the same as giving it as `language`.
        latency_ms: 80, 160, 320, 560 or 1120: how much audio is heard at a time. More gives better words. The default
            is 1120 for recordings, 320 for live streams.
        boost: phrases that are likely, with weights, either {"Nemotron": 2.0} or ["Nemotron:2", "Parakeet"]; the usual
            weight is 1, and 0 has no effect.
        beam: hypotheses that are followed at a time, from 1 (the default), which is greedy search, to 16. More give
            better words, some of them later, and cost more.
        lm: an ARPA file, a word n-gram model that the beam listens to as well, which is then 4 unless it is given.
        lm_weight: how much it counts, 0.2 by default.
        endpointing_ms: silence after speech that ends a segment, 800 by default; None: only `finalize` and the longest
            segment do.
        longest_segment_ms: speech after which a segment is cut, 30,000 by default.
        vad: listen to where somebody speaks: speech begins and ends with the voice, and words far from any are left
            out. It is off by default, and needs the extra `vad`.
        keep_language_tags: leave the model's language tags in the text; they are taken out by default.
        postprocess: what changes finished segments, a function or one for each language; see `postprocess`.
    """

    language: str
    languages: Sequence[str]
    latency_ms: int
    boost: Mapping[str, float] | Sequence[str]
    beam: int
    lm: str | PathLike[str] | None
    lm_weight: float
    endpointing_ms: int | None
    longest_segment_ms: int
    vad: bool
    keep_language_tags: bool
    postprocess: Postprocess | None
