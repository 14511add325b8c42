"""Where clips come from: a NeMo manifest, a folder of recordings and texts, or a Hugging Face dataset."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nemotron_asr.audio.suffixes import SUFFIXES
from nemotron_asr.corpus.manifest import UNKNOWN, Clip, read_lines
from nemotron_asr.drafts import drafted
from nemotron_asr.errors import LanguageError, ManifestError, needs_extra
from nemotron_asr.languages import canonical

HUGGING_FACE = "hf:"

AUDIO_COLUMN = "audio"
TEXT_COLUMNS = (
    "raw_transcription", "raw_text", "text", "sentence", "transcript", "transcription", "normalized_text",
)  # fmt: skip
"""The first that there is: some datasets have the text as it is written, and one without case and punctuation."""
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
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    others: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix.lower() not in NO_AUDIO:
            others.setdefault(path.with_suffix(""), []).append(path)
    for stem in sorted({*texts, *others} if others else ()):
        yield _pair(_recordings(others.get(stem, [stem])), texts.get(stem), language)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _recordings(files: Sequence[Path]) -> Sequence[Path]:
    """Those files whose names end as recordings' do, or all where none does: subtitles may lie beside a recording."""
    return [path for path in files if path.suffix.lower() in SUFFIXES] or files


def _pair(recordings: Sequence[Path], text: Path | None, language: str) -> Clip | ManifestError:
    if len(recordings) > 1:
        return ManifestError(f"{', '.join(map(str, recordings))}: a text is that of one recording")
    try:
        said = text.read_text(encoding="utf-8-sig") if text else ""
    except (OSError, UnicodeDecodeError) as error:
        return ManifestError(f"cannot read text {text}: {error}")
    return Clip(recordings[0], 0.0, " ".join(said.split()), language)


def fetch_dataset(name: str, folder: Path, language: str = "") -> Path:
    """Write a Hugging Face dataset as recordings and a manifest, once; returns the manifest.

    Args:
        name: `hf:OWNER/NAME`, `hf:OWNER/NAME:CONFIGURATION` or `hf:OWNER/NAME:CONFIGURATION:SPLIT`; the split is
            "train" unless given. A local folder will do for OWNER/NAME.
        folder: where datasets are kept.
        language: of the clips that do not say one that is known. The manifest does not have it, so that it may differ
            the next time.

    Raises:
        ManifestError: it cannot be fetched, or has no column of recordings or of texts, or nobody says the language.
        MissingExtraError: the package is not installed.
    """
    repository, configuration, split = [*name.removeprefix(HUGGING_FACE).split(":", 2), "", ""][:3]
    target = folder / "-".join(filter(None, (repository.strip("./").replace("/", "-"), configuration, split)))
    manifest = target / "manifest.jsonl"
    if not manifest.exists():
        target.mkdir(parents=True, exist_ok=True)
        rows = enumerate(_rows(repository, configuration, split or "train"))
        lines = [json.dumps(_line(row, target / f"{i:07}", language, name), ensure_ascii=False) for i, row in rows]
        with drafted(manifest, shared=True) as draft:
            draft.write_text("\n".join(lines), encoding="utf-8")
    return manifest


def _rows(repository: str, configuration: str, split: str) -> Iterator[Mapping[str, Any]]:
    try:
        from datasets import Audio, load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise needs_extra("hf:", "datasets") from None
    try:
        rows = load_dataset(repository, configuration or None, split=split)
        _check_columns(repository, rows.column_names)
        yield from rows.cast_column(AUDIO_COLUMN, Audio(decode=False))
    except (OSError, ValueError, KeyError, NotImplementedError, DatasetsError) as error:  # of Arrow, too
        reason = " ".join(str(error).split())[:300]
        raise ManifestError(f"dataset {repository!r} cannot be used: {reason}") from None


def _check_columns(repository: str, columns: Sequence[str]) -> None:
    if AUDIO_COLUMN not in columns:
        raise ManifestError(f"dataset {repository!r} has no column {AUDIO_COLUMN!r}; it has {', '.join(columns)}")


def _line(row: Mapping[str, Any], stem: Path, language: str, name: str) -> dict[str, Any]:
    """Write one recording, as it is encoded; returns its line of the manifest.

    What a row leaves empty, or names and does not hold, is empty there, too: the clip is left out later, by name.
    """
    text, spoken = _first(row, TEXT_COLUMNS), _first(row, LANGUAGE_COLUMNS)
    if text is None or (spoken is None and not language):
        wanted = f"a text ({', '.join(TEXT_COLUMNS)})" if text is None else "a language; say it"
        raise ManifestError(f"dataset {name!r} has no column of {wanted}; it has {', '.join(row)}")
    audio = row[AUDIO_COLUMN] or {"path": None, "bytes": None}
    target = stem.with_suffix(Path(audio["path"] or "").suffix or ".audio")
    if not target.exists():  # another process of the same training may be fetching it, too
        with drafted(target, shared=True) as draft:
            draft.write_bytes(_encoded(audio))
    return {"audio_filepath": target.name, "duration": 0.0, "text": text, **_said(spoken or "")}


def _encoded(audio: Mapping[str, Any]) -> bytes:
    """What a row holds of a recording, or the file that it names; nothing where there is neither."""
    if audio["bytes"] is not None:
        return bytes(audio["bytes"])
    with suppress(OSError, ValueError):
        return Path(audio["path"]).read_bytes() if audio["path"] else b""
    return b""


def _said(language: str) -> dict[str, str]:
    """A row's language as a line has it: many datasets have names or numbers there, of which nobody can know."""
    try:
        canonical(language)
    except LanguageError:
        return {UNKNOWN: language} if language else {}
    return {"target_lang": language}


def _first(row: Mapping[str, Any], columns: Iterable[str]) -> str | None:
    """The first of some columns that a row has; None where it has none of them."""
    found = next((column for column in columns if column in row), None)
    return None if found is None else "" if row[found] is None else str(row[found])
