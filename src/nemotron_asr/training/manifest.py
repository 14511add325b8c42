"""Manifests: one clip a line, in NeMo's format, read strictly; and the choice of those clips a model can learn from."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nemotron_asr.config import SAMPLE_RATE, ModelConfig
from nemotron_asr.errors import LanguageError, ManifestError
from nemotron_asr.features import mel_frames
from nemotron_asr.languages import canonical, resolve
from nemotron_asr.model import encoder_frames
from nemotron_asr.tokenizer import Tokenizer

TOKENS_PER_FRAME = 2
"""Nobody says more than this in 80 ms: where a clip does, its text is not what is spoken."""


@dataclass(frozen=True)
class Clip:
    """One recording and what is said in it."""

    path: Path  # absolute, or relative to the working directory
    duration: float  # seconds, as the manifest claims
    text: str  # without language tag
    language: str  # a locale such as "de-DE"
    row: int = 0  # place in its manifest
    ends: tuple[float, ...] = ()  # seconds at which its words end, where the manifest says


@dataclass(frozen=True)
class Example:
    """A clip that a model can learn from."""

    clip: Clip
    tokens: tuple[int, ...]  # the text's, with the language tag at the end
    prompt: int  # row of its language


@dataclass
class Selection:
    """The clips that are used, and those that are not, by reason."""

    examples: list[Example] = field(default_factory=list)
    rejected: dict[str, list[Clip]] = field(default_factory=dict)

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
            names = ", ".join(str(clip.path) for clip in clips[:3])
            lines.append(f"left out, {reason}: {len(clips)} ({names}{', ...' if len(clips) > 3 else ''})")
        return lines


def read_manifest(path: Path) -> list[Clip]:
    """Read a manifest: JSON lines with `audio_filepath`, `duration`, `text` and `target_lang` (or `lang`).

    Relative audio paths count from the manifest's folder; blank lines are skipped, unknown fields ignored. `word_ends`,
    if there, is a list of seconds, one for each word.

    Raises:
        ManifestError: the file cannot be read, or a line is not such an object; the message names file, line and field.
    """
    clips: list[Clip] = []
    for entry in read_lines(path):
        if isinstance(entry, ManifestError):
            raise entry
        clips.append(entry)
    return clips


def read_lines(path: Path) -> list[Clip | ManifestError]:
    """Like `read_manifest`, for those who can do without some lines: what is wrong with one stands in its place.

    Raises:
        ManifestError: the file cannot be read, or has no lines.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ManifestError(f"cannot read manifest {path}: {error}") from error
    entries = [_clip_or_error(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not entries:
        raise ManifestError(f"manifest {path} lists no clip")
    return entries


def _clip_or_error(line: bytes, manifest: Path, number: int) -> Clip | ManifestError:
    try:
        return _clip(line, manifest, number)
    except ManifestError as error:
        return error


def _clip(line: bytes, manifest: Path, number: int) -> Clip:
    where = f"{manifest}, line {number}"
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise ManifestError(f"{where}: a {type(entry).__name__}, not an object")
    language = entry.get("target_lang", entry.get("lang"))
    for name, value in {
        "audio_filepath": entry.get("audio_filepath"),
        "text": entry.get("text"),
        "target_lang": language,
    }.items():
        if not isinstance(value, str):
            raise ManifestError(f"{where}: {name} is {value!r}; it must be a string")
    duration = entry.get("duration")
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 <= duration < float("inf"):
        raise ManifestError(f"{where}: duration is {duration!r}; it must be a number of seconds")
    audio, text, ends = manifest.parent / entry["audio_filepath"], entry["text"].strip(), _ends(entry, where)
    return Clip(audio, float(duration), text, str(language), ends=ends)


def _ends(entry: dict[str, Any], where: str) -> tuple[float, ...]:
    ends = entry.get("word_ends", [])
    if not isinstance(ends, list) or not all(isinstance(end, int | float) for end in ends):
        raise ManifestError(f"{where}: word_ends is {ends!r}; it must be a list of seconds")
    return tuple(map(float, ends))


def select(
    clips: Iterable[Clip], tokenizer: Tokenizer, config: ModelConfig, longest: float, shortest: float = 0.1
) -> Selection:
    """Keep the clips that a transducer can learn from; set the others aside by reason, never fail.

    Args:
        clips: what manifests list; 0 seconds stand for audio that cannot be read.
        tokenizer: with tags for the clips' languages, or without any tags.
        config: says which languages the model can be asked for.
        longest: seconds; longer clips do not fit a batch.
        shortest: seconds.
    """
    selection, tags = Selection(), set(tokenizer.language_tags.values())
    for clip in clips:
        try:
            language = canonical(clip.language, config.prompts)
            prompt = resolve(language, config.prompts) if config.n_prompts else 0
        except LanguageError:
            selection.reject(f"language {clip.language!r} is unknown", clip)
            continue
        tokens = tuple(tokenizer.encode(f"{clip.text} <{language}>" if tags else clip.text))
        if tags and language not in tags:
            selection.reject(f"no tag for {language}", clip)
        elif reason := _objection(clip, tokens, tokenizer, shortest, longest):
            selection.reject(reason, clip)
        else:
            selection.examples.append(Example(replace(clip, language=language), tokens, prompt))
    return selection


def _objection(clip: Clip, tokens: tuple[int, ...], tokenizer: Tokenizer, shortest: float, longest: float) -> str:
    if not clip.text:
        return "empty text"
    if not clip.duration:
        return "unreadable"
    if not shortest <= clip.duration <= longest:
        return f"not {shortest:g} to {longest:g} s long"
    if len(tokens) > TOKENS_PER_FRAME * encoder_frames(mel_frames(round(clip.duration * SAMPLE_RATE))):
        return f"more than {TOKENS_PER_FRAME} tokens per frame"
    if tokenizer.unknown in tokens:
        return "characters that the tokenizer lacks"
    return ""
