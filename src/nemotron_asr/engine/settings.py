"""Options -> settings: what a user asks for, checked against the model before a stream is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol, Unpack

from nemotron_asr.audio.activity import require_voice_activity
from nemotron_asr.config import FRAME_MS, ModelConfig, chunk_frames
from nemotron_asr.decoding.beam import Beam
from nemotron_asr.decoding.boosting import BoostTree, boost_tree
from nemotron_asr.decoding.fusion import Fusion
from nemotron_asr.decoding.hypotheses import MOST_SYMBOLS
from nemotron_asr.decoding.ngram import NGram
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.stream import Target
from nemotron_asr.errors import LanguageError, OptionError
from nemotron_asr.languages import AUTO, canonical, prompt_row
from nemotron_asr.options import LIVE_MS, LONGEST_SEGMENT_MS, PAUSE_MS, Options, check_types
from nemotron_asr.postprocess import Postprocessor, by_language
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript import TranscriptBuilder, Voice

LONGEST_MS = 10**9
"""Of a pause or a segment, which is eleven days; what is longer fits no float."""

WIDEST_BEAM = 16
"""Hypotheses of one stream; beyond 8 the gain is small."""


LM_BEAM, LM_WEIGHT, WORD_BONUS = 4, 0.2, 7.5
"""With a language model: the beam, the model's weight, and a word's bonus in units of that weight."""


class SpeechModel(Protocol):
    """What an engine needs of a loaded model; a `Recognizer` is one."""

    config: ModelConfig
    tokenizer: Tokenizer
    runner: Runner


@dataclass(frozen=True)
class Settings:
    """How one stream is heard; the meaning of each is in `Options`."""

    target: Target
    chunk: int  # lookahead + 1, in encoder frames
    boost: BoostTree
    beam: Beam
    pause_frames: int | None
    longest_frames: int
    vad: bool
    keep_language_tags: bool
    postprocess: Postprocessor | None

    def builder(self, tokenizer: Tokenizer) -> TranscriptBuilder:
        """What makes events of the stream's tokens."""
        return TranscriptBuilder(
            tokenizer,
            self.target.language,
            self.keep_language_tags,
            self.pause_frames,
            longest_frames=self.longest_frames,
            voice=Voice() if self.vad else None,
        )


def check_options(model: SpeechModel, **options: Unpack[Options]) -> Settings:
    """The settings of one stream; see `Options`.

    Raises:
        LanguageError: a language is unknown, or the model cannot tell languages apart.
        OptionError: an option is unknown, or its value is not offered.
    """
    check_types(options)
    endpointing, postprocess = options.get("endpointing_ms", PAUSE_MS), options.get("postprocess")
    if vad := options.get("vad", False):
        require_voice_activity()
    return Settings(
        choose_target(model, options.get("language", AUTO), options.get("languages", ())),
        chunk_frames(options.get("latency_ms", LIVE_MS)),
        boost_tree(options.get("boost", ()), model.tokenizer),
        _beam(model, options),
        None if endpointing is None else _frames("endpointing_ms", endpointing),
        _frames("longest_segment_ms", options.get("longest_segment_ms", LONGEST_SEGMENT_MS)),
        vad,
        options.get("keep_language_tags", False),
        None if postprocess is None else by_language(postprocess, model.config.prompts),
    )


def choose_target(model: SpeechModel, language: str, languages: Sequence[str] = ()) -> Target:
    """The language, or those to choose from.

    Raises:
        LanguageError: one is unknown, or the model has no tag for any of them.
        OptionError: a language is given beside several to choose from.
    """
    config = model.config
    allowed = {canonical(each, config.prompts) for each in languages} - {AUTO}
    if len(allowed) == 1 and language == AUTO:
        language = allowed.pop()
    target = Target(prompt_row(language, config), canonical(language, config.prompts))
    if not allowed:
        return target
    if target.language != AUTO:
        message = f"language {language!r} leaves nothing to choose from {', '.join(languages)}; give one"
        raise OptionError(message, "languages")
    tags = {locale: token for token, locale in model.tokenizer.language_tags.items()}
    if missing := sorted(allowed - tags.keys()):
        choices = f"choose {', '.join(sorted(tags))}" if tags else "it cannot tell languages apart"
        raise LanguageError(f"the model has no tag for {', '.join(missing)}; {choices}")
    return Target(target.prompt, AUTO, tuple(sorted(token for locale, token in tags.items() if locale not in allowed)))


def _beam(model: SpeechModel, options: Options) -> Beam:
    path, weight = options.get("lm"), options.get("lm_weight", LM_WEIGHT)
    width = options.get("beam", LM_BEAM if path else 1)
    if not 1 <= width <= WIDEST_BEAM:
        message = f"beam {width} is not offered; choose from 1, which is greedy search, to {WIDEST_BEAM}"
        raise OptionError(message, "beam")
    if not 0 <= weight <= 1:
        raise OptionError(f"lm_weight {weight!s:.40} is out of range; choose 0 to 1", "lm_weight")
    if width > 1 and (symbols := model.config.max_symbols) > MOST_SYMBOLS:
        message = f"a beam is for models that say up to {MOST_SYMBOLS} tokens a frame; this one says {symbols}"
        raise OptionError(message, "beam")
    if path is None:
        return Beam(width)
    if width == 1:
        message = f"a language model needs a beam of 2 or more, and {LM_BEAM} if none is given; beam is 1"
        raise OptionError(message, "beam")
    return Beam(width, _fusion(fspath(path), _written(path), model.tokenizer, weight))


@lru_cache(maxsize=16)
def _fusion(path: str, written: int, tokenizer: Tokenizer, weight: float) -> Fusion:
    return Fusion(_word_model(path, written), tokenizer, weight, weight * WORD_BONUS)


@lru_cache(maxsize=4)
def _word_model(path: str, _written: int) -> NGram:
    """A language model, read once for all streams that ask for it, and again when its file is another."""
    return NGram(path)


def _written(path: str | PathLike[str]) -> int:
    """When a file was last changed, in nanoseconds; 0 where it is missing, as who reads it will say."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _frames(option: str, milliseconds: int) -> int:
    if milliseconds < FRAME_MS:
        raise OptionError(f"{option} {milliseconds!s:.40} is too short; it must be at least {FRAME_MS}", option)
    if milliseconds > LONGEST_MS:
        raise OptionError(f"{option} {milliseconds!s:.40} is too long; it must be at most {LONGEST_MS}", option)
    return round(milliseconds / FRAME_MS)
