"""The test sets of FLEURS by name, from the Hugging Face hub.

Conneau et al., "FLEURS: Few-shot Learning Evaluation of Universal Representations of Speech" (2022); CC-BY-4.0.
"""

import csv
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import huggingface_hub
from huggingface_hub.constants import HF_HOME
from huggingface_hub.errors import LocalEntryNotFoundError

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import LanguageError, ManifestError
from nemotron_asr.languages import LANGUAGES, canonical

REPOSITORY = "google/fleurs"

LARGEST = 20_000_000
"""Bytes that one recording may have: many times the longest, which lasts less than a minute."""

_ELSEWHERE = {
    "ar-AR": "ar_eg", "en-GB": "en_us", "es-US": "es_419", "es-ES": "es_419", "fr-CA": "fr_fr", "pt-PT": "pt_br",
    "nn-NO": "nb_no", "zh-CN": "cmn_hans_cn",
}  # fmt: skip
SETS = {entry.locale: _ELSEWHERE.get(entry.locale, entry.locale.lower().replace("-", "_")) for entry in LANGUAGES}
"""Locale -> FLEURS' name for it or, where FLEURS lacks it, for the same language elsewhere."""


def is_fleurs(manifest: str) -> bool:
    """Whether the name of a manifest asks for FLEURS: `fleurs`, or `fleurs:` and a locale."""
    return manifest == "fleurs" or manifest.startswith("fleurs:")


def fetch(name: str) -> Iterator[Path]:
    """The manifests of FLEURS test sets, fetched and unpacked when they are not on this machine.

    Args:
        name: `fleurs` for the 40 locales, `fleurs:de-DE` for one.

    Raises:
        LanguageError: FLEURS does not have the locale.
        ManifestError: the hub cannot be reached, or sends something else.
    """
    wanted = name.partition(":")[2]
    locales = [canonical(wanted)] if wanted else list(SETS)
    if not set(locales) <= set(SETS):
        raise LanguageError(f"FLEURS is not offered in {wanted!r}; choose {', '.join(SETS)}")
    for locale in locales:
        manifest = Path(HF_HOME) / "nemotron-asr" / "fleurs" / SETS[locale] / f"{locale}.jsonl"
        if not manifest.exists():
            _unpack(locale, manifest)
        yield manifest


def _unpack(locale: str, manifest: Path) -> None:
    """Put the recordings beside the manifest, which is written last: where it is, all is."""
    archive, table = _download(f"{SETS[locale]}/audio/test.tar.gz"), _download(f"{SETS[locale]}/test.tsv")
    folder = manifest.parent / "audio"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _extract(archive, folder)
        lines = list(_lines(table, locale, folder))
    except (tarfile.TarError, OSError, ValueError, IndexError) as error:
        raise ManifestError(f"{REPOSITORY}, {SETS[locale]} cannot be unpacked: {error}") from error
    draft = manifest.with_name(f".{manifest.name}.{os.getpid()}.part")
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.replace(manifest)


def _download(file: str) -> Path:
    try:
        return Path(huggingface_hub.hf_hub_download(REPOSITORY, f"data/{file}", repo_type="dataset"))
    except LocalEntryNotFoundError:
        raise ManifestError(
            f"{REPOSITORY} is not on this machine and Hugging Face cannot be reached; run "
            f"`hf download {REPOSITORY} --repo-type dataset data/{file}` where it can and copy the cache here"
        ) from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(f"{REPOSITORY} cannot be fetched from Hugging Face: {reason}") from None


def _extract(archive: Path, folder: Path) -> None:
    """Take the recordings, by their mere names, and nothing else."""
    with tarfile.open(archive) as content:
        for member in content:
            name = PurePosixPath(member.name).name
            source = content.extractfile(member) if member.isfile() and name.endswith(".wav") else None
            if source is not None and member.size <= LARGEST:
                with (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)


def _lines(table: Path, locale: str, folder: Path) -> Iterator[str]:
    """A manifest's lines from a table of id, file, text as written, normalised text, letters, samples, gender."""
    with table.open(encoding="utf-8", newline="") as rows:
        for row in csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            entry = {
                "audio_filepath": f"{folder.name}/{PurePosixPath(row[1]).name}",
                "duration": int(row[5]) / SAMPLE_RATE,
                "text": row[2],
                "target_lang": locale,
            }
            yield json.dumps(entry, ensure_ascii=False)
