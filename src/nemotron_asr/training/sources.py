"""Where clips come from: a NeMo manifest, a folder of recordings and texts, or a Hugging Face dataset."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nemotron_asr.errors import ManifestError, MissingExtraError
from nemotron_asr.training.manifest import Clip, read_lines
from nemotron_asr.training.state import write_whole

HUGGING_FACE = "hf:"

TEXT_COLUMNS = ("text", "transcription", "sentence", "transcript", "raw_transcription", "normalized_text")
LANGUAGE_COLUMNS = ("target_lang", "lang", "locale", "language")

NO_AUDIO = {".txt", ".json", ".jsonl", ".csv", ".tsv", ".md"}


def read_clips(path: Path, language: str = "") -> list[Clip | ManifestError]:
    """The clips of a manifest, or of a folder in which `a.txt` says what is spoken in `a.wav`, or `a.mp3`, or ...

    Args:
        path: a file is a manifest.
        language: of a folder's clips, and of those whose line in a manifest does not say it.

    Returns:
        What is wrong with a line or a text stands in its place.

    Raises:
        ManifestError: it cannot be read, or lists nothing, or nobody says the language.
    """
    if not path.is_dir():
        return read_lines(path, language)
    if not language:
        raise ManifestError(f"{path} is a folder: say the language that is spoken in it")
    clips = list(_pairs(path, language))
    if not clips:
        raise ManifestError(f"{path} holds no recording with its text in a .txt file beside it")
    return clips


def _pairs(folder: Path, language: str) -> Iterator[Clip | ManifestError]:
    """Recordings and texts by the same name; where one of the two is missing, the clip is left out later, by name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    audio = {path.with_suffix(""): path for path in files if path.suffix.lower() not in NO_AUDIO}
    for stem in sorted({*texts, *audio} if audio else ()):
        yield _pair(audio.get(stem, stem), texts.get(stem), language)


def _pair(recording: Path, text: Path | None, language: str) -> Clip | ManifestError:
    try:
        said = text.read_text(encoding="utf-8") if text else ""
    except (OSError, UnicodeDecodeError) as error:
        return ManifestError(f"cannot read text {text}: {error}")
    return Clip(recording, 0.0, " ".join(said.split()), language)


def fetch_dataset(name: str, folder: Path, language: str = "") -> Path:
    """Write a Hugging Face dataset as recordings and a manifest, once; returns the manifest.

    Args:
        name: `hf:OWNER/NAME`, `hf:OWNER/NAME:CONFIGURATION` or `hf:OWNER/NAME:CONFIGURATION:SPLIT`; the split is
            "train" unless given. A local folder will do for OWNER/NAME.
        folder: where datasets are kept.
        language: of its clips; unless given, a column says it.

    Raises:
        ManifestError: it cannot be fetched, or has no column of recordings or of texts.
        MissingExtraError: the package is not installed.
    """
    repository, configuration, split = [*name.removeprefix(HUGGING_FACE).split(":", 2), "", ""][:3]
    target = folder / "-".join(filter(None, (repository.strip("./").replace("/", "-"), configuration, split)))
    manifest = target / "manifest.jsonl"
    if not manifest.exists():
        target.mkdir(parents=True, exist_ok=True)
        rows = enumerate(_rows(repository, configuration, split or "train"))
        lines = [json.dumps(_line(row, target / f"{i:07}", language, name), ensure_ascii=False) for i, row in rows]
        write_whole(manifest, "\n".join(lines))
    return manifest


def _rows(repository: str, configuration: str, split: str) -> Iterator[Mapping[str, Any]]:
    try:
        from datasets import Audio, load_dataset
    except ImportError:
        raise MissingExtraError("hf: needs an extra: pip install 'nemotron-asr[datasets]'") from None
    try:
        rows = load_dataset(repository, configuration or None, split=split)
        yield from rows.cast_column("audio", Audio(decode=False))
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ManifestError(f"dataset {repository!r} cannot be used: {reason}") from None


def _line(row: Mapping[str, Any], stem: Path, language: str, name: str) -> dict[str, Any]:
    """Write one recording, as it is encoded; returns its line of the manifest.

    What a row leaves empty is empty there, too: the clip is left out later, by name.
    """
    text, spoken = _first(row, TEXT_COLUMNS), language or _first(row, LANGUAGE_COLUMNS)
    if text is None or spoken is None:
        wanted = f"a text ({', '.join(TEXT_COLUMNS)})" if text is None else "a language; say it"
        raise ManifestError(f"dataset {name!r} has no column of {wanted}; it has {', '.join(row)}")
    audio = row["audio"] or {"path": None, "bytes": b""}
    target = stem.with_suffix(Path(audio["path"] or "").suffix or ".audio")
    if not target.exists():  # another process of the same training may be fetching it, too
        partial = target.with_suffix(f".{os.getpid()}.part")
        partial.write_bytes(audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes())
        partial.replace(target)
    return {"audio_filepath": target.name, "duration": 0.0, "text": text, "target_lang": spoken}


def _first(row: Mapping[str, Any], columns: Iterable[str]) -> str | None:
    """The first of some columns that a row has; None where it has none of them."""
    found = next((column for column in columns if column in row), None)
    return None if found is None else "" if row[found] is None else str(row[found])
