"""What may be done to a finished segment: Segment -> Segment, per language; a filter of words, numbers in digits.

    hooks.py      one after the other, one for each language; words written differently
    masking.py    words that are not to be read
    numbers.py    spoken numbers in digits

Whatever is done, the words still say what the text says, and keep the times at which they were spoken. Partials are not
changed, for their text must only grow; but they end before what may become a word that is masked.
"""

from nemotron_asr.postprocess.hooks import (
    Edit,
    Hiding,
    Postprocess,
    Postprocessor,
    by_language,
    chain,
    replace_text,
    rewrite,
    shown,
)
from nemotron_asr.postprocess.masking import mask_words, read_words
from nemotron_asr.postprocess.numbers import NUMBER_LANGUAGES, spoken_numbers

__all__ = [
    "NUMBER_LANGUAGES",
    "Edit",
    "Hiding",
    "Postprocess",
    "Postprocessor",
    "by_language",
    "chain",
    "mask_words",
    "read_words",
    "replace_text",
    "rewrite",
    "shown",
    "spoken_numbers",
]
