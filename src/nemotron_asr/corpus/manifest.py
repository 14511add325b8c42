"""Manifests: one clip a line, in NeMo's format, read strictly."""

import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron_asr.corpus.parts import WHOLE, Part
from nemotron_asr.errors import ManifestError

UNKNOWN = "unknown_lang"
"""What a line calls a language that it has from elsewhere: it counts where nobody says another."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can hold and no tokenizer takes."""


@dataclass(frozen=True)
class Clip:
    """One recording, or a part of it, and what is said in it."""

    path: Path  # absolute, or relative to the working directory
    duration: float  # seconds, as the manifest claims; 0: it does not say
    text: str  # without language tag
    language: str  # a locale such as "de-DE"
    row: int = 0  # place in its manifest
    ends: tuple[float, ...] = ()  # seconds at which its words end, where the manifest says
    part: Part = WHOLE

    @property
    def name(self) -> str:
        """What tells it from other clips."""
        return f"{self.path}{self.part}"


def read_manifest(path: Path) -> list[Clip]:
    """Read a manifest: JSON lines with `audio_filepath`, `text` and `target_lang` (or `lang`).

    Relative audio paths count from the manifest's folder; blank lines are skipped, unknown fields ignored. `duration`,
    if there, describes the recording; with `offset`, both in seconds, only that part of it is meant. `word_ends`, if
    there, is a list of seconds, one for each word, from the beginning of the clip.

    Raises:
        ManifestError: the file cannot be read, or a line is not such an object; the message names file, line and field.
    """
    clips: list[Clip] = []
    for entry in read_lines(path):
        if isinstance(entry, ManifestError):
            raise entry
        clips.append(entry)
    return clips


def read_lines(path: Path, language: str = "") -> list[Clip | ManifestError]:
    """Like `read_manifest`, for those who can do without some lines: what is wrong with one stands in its place.

    Args:
        path: of the manifest.
        language: of lines that do not say it.

    Raises:
        ManifestError: the file cannot be read, or has no lines, or none of them can be a clip's.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ManifestError(f"cannot read manifest {path}: {error}") from error
    entries = [_clip_or_error(line, path, number, language) for number, line in enumerate(lines, 1) if line.strip()]
    if not entries:
        raise ManifestError(f"manifest {path} lists no clip")
    if b"{" not in lines[0] and all(isinstance(entry, ManifestError) for entry in entries):
        raise ManifestError(f"{path} is no manifest, which has a JSON object for each clip, one a line")
    return entries


def _clip_or_error(line: bytes, manifest: Path, number: int, language: str) -> Clip | ManifestError:
    try:
        return _clip(line, manifest.parent, language)
    except ManifestError as error:
        return ManifestError(f"{manifest}, line {number}: {error}")


def _clip(line: bytes, folder: Path, language: str) -> Clip:
    entry = _entry(line)
    said = [entry[key] for key in ("target_lang", "lang") if entry.get(key) is not None]
    spoken = {"target_lang": said[0] if said else language or entry.get(UNKNOWN)}
    audio, text, locale = (_text({**entry, **spoken}, name) for name in ("audio_filepath", "text", "target_lang"))
    if _HALF.search(text):
        raise ManifestError(f"text is {text!r}; it must be whole characters")
    duration, offset = _seconds(entry, "duration"), _seconds(entry, "offset")
    part = WHOLE if offset is None else Part(offset, round(offset + duration, 6) if duration else math.inf)
    return Clip(folder / audio, duration or 0.0, text.strip(), locale, ends=_ends(entry), part=part)


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise ManifestError(f"a {type(entry).__name__}, not an object")
    return entry


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise ManifestError(f"{name} is {value!r}; it must be a string")
    return value


def _seconds(entry: dict[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if value is not None and not _is_time(value):
        raise ManifestError(f"{name} is {value!r}; it must be a number of seconds")
    return None if value is None else float(value)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def _ends(entry: dict[str, Any]) -> tuple[float, ...]:
    ends = entry.get("word_ends", [])
    if not isinstance(ends, list) or not all(map(_is_time, ends)):
        raise ManifestError(f"word_ends is {ends!r}; it must be a list of seconds")
    return tuple(map(float, ends))
