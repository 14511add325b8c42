"""The clips that a model can learn from, and why others cannot be."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from nemotron_asr.config import SAMPLE_RATE, ModelConfig
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.errors import LanguageError, ManifestError, printable
from nemotron_asr.features import mel_frames
from nemotron_asr.languages import canonical, resolve
from nemotron_asr.model import encoder_frames
from nemotron_asr.tokenizer import Tokenizer

SHORTEST = 0.1
"""Seconds of a clip that somebody can have said something in."""

TOKENS_PER_FRAME = 2
"""Nobody says more than this in 80 ms: where a clip does, its text is not what is spoken."""


@dataclass(frozen=True)
class Example:
    """A clip that a model can learn from."""

    clip: Clip
    tokens: tuple[int, ...]  # the text's, with the language tag at the end
    prompt: int  # row of its language


@dataclass
class Selection:
    """The clips that are used, those that are not, by reason, and what is wrong with lines that are no clips."""

    examples: list[Example] = field(default_factory=list)
    rejected: dict[str, list[Clip]] = field(default_factory=dict)
    errors: list[ManifestError] = field(default_factory=list)

    def reject(self, reason: str, clip: Clip) -> None:
        """Set a clip aside."""
        self.rejected.setdefault(reason, []).append(clip)

    def report(self) -> list[str]:
        """One line on what is used, then one per reason with the count and the first clips' names."""
        languages = Counter(example.clip.language for example in self.examples)
        hours = sum(example.clip.duration for example in self.examples) / 3600
        counts = ", ".join(f"{language} {n}" for language, n in languages.most_common())
        lines = [f"{len(self.examples)} clips, {hours:.2f} h: {counts}"]
        for reason, clips in sorted(self.rejected.items()):
            lines.append(left_out(reason, [clip.name for clip in clips]))
        return [*lines, left_out("no clip", list(map(str, self.errors)))] if self.errors else lines


def left_out(reason: str, names: Sequence[str]) -> str:
    """A line on clips that are not used: why, how many, and the names of the first."""
    return f"left out, {reason}: {len(names)} ({printable(', '.join(names[:3]))}{', ...' if len(names) > 3 else ''})"


def select(clips: Iterable[Clip], tokenizer: Tokenizer, config: ModelConfig, longest: float) -> Selection:
    """Keep the clips that a transducer can learn from; set the others aside by reason, never fail.

    Args:
        clips: what manifests list; 0 seconds stand for audio that cannot be read.
        tokenizer: with tags for the clips' languages, or without any tags.
        config: says which languages the model can be asked for.
        longest: seconds; longer clips do not fit a batch.
    """
    selection, tags = Selection(), set(tokenizer.language_tags.values())
    for clip in clips:
        try:
            language = canonical(clip.language, config.prompts)
            prompt = resolve(language, config.prompts) if config.n_prompts else 0
        except LanguageError:
            selection.reject(f"language {clip.language!r} is unknown", clip)
            continue
        own = replace(clip, language=language, text=clip.text.removesuffix(f"<{language}>").rstrip())
        ended = not tags or own.text.endswith(tuple(f"<{tag}>" for tag in tags))
        tokens = tuple(tokenizer.encode(own.text if ended else f"{own.text} <{language}>"))
        if tags and language not in tags:
            selection.reject(f"no tag for {language}", clip)
        elif reason := _objection(own, tokens, tokenizer, longest):
            selection.reject(reason, clip)
        else:
            selection.examples.append(Example(own, tokens, prompt))
    return selection


def _objection(clip: Clip, tokens: tuple[int, ...], tokenizer: Tokenizer, longest: float) -> str:
    if not clip.text:
        return "empty text"
    if not clip.duration:
        return "unreadable"
    if not SHORTEST <= clip.duration <= longest:
        return f"not {SHORTEST:g} to {longest:g} s long"
    if len(tokens) > TOKENS_PER_FRAME * encoder_frames(mel_frames(round(clip.duration * SAMPLE_RATE))):
        return f"more than {TOKENS_PER_FRAME} tokens per frame"
    if tokenizer.unknown in tokens:
        return "characters that the tokenizer lacks"
    return ""
