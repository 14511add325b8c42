"""FLEURS by name, with a hub that is a folder."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from nemotron_asr.errors import LanguageError, ManifestError
from nemotron_asr.evaluation import fleurs
from nemotron_asr.languages import LANGUAGES
from tests.conftest import Sample

TEXT = 'Neben Deutsch, spricht "sie" auch Englisch.'
ROW = f"7\tone.wav\t{TEXT}\tneben deutsch\tn e b e n |\t53024\tFEMALE\n"


@pytest.fixture
def asked(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub with one German recording, and a member that wants to be elsewhere; what was asked of it."""
    (tmp_path / "test.tsv").write_text(ROW, encoding="utf-8")
    recording = Path(samples[0].path).read_bytes()
    with tarfile.open(tmp_path / "test.tar.gz", "w:gz") as archive:
        for name in ("test/one.wav", "../../evil.wav", "test/notes.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(recording)
            archive.addfile(member, io.BytesIO(recording))
        link = tarfile.TarInfo("test/link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    files: list[str] = []

    def download(repository: str, file: str, *, repo_type: str) -> str:
        files.append(f"{repo_type} {repository} {file}")
        return str(tmp_path / Path(file).name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(fleurs, "HF_HOME", str(tmp_path / "home"))
    return files


def test_a_test_set_is_fetched_once(asked: list[str], samples: list[Sample]) -> None:
    [manifest] = fleurs.fetch("fleurs:de")
    assert asked == [
        "dataset google/fleurs data/de_de/audio/test.tar.gz",
        "dataset google/fleurs data/de_de/test.tsv",
    ]
    entry = json.loads(manifest.read_text(encoding="utf-8"))
    assert entry == {"audio_filepath": "audio/one.wav", "duration": 3.314, "text": TEXT, "target_lang": "de-DE"}
    assert (manifest.parent / entry["audio_filepath"]).read_bytes() == Path(samples[0].path).read_bytes()
    assert list(fleurs.fetch("fleurs:de-DE")) == [manifest]
    assert len(asked) == 2


def test_an_archive_writes_recordings_beside_the_manifest_only(asked: list[str], tmp_path: Path) -> None:
    [manifest] = fleurs.fetch("fleurs:de-DE")
    assert asked
    written = {str(path.relative_to(manifest.parent)) for path in manifest.parent.rglob("*") if path.is_file()}
    assert written == {"de-DE.jsonl", "audio/one.wav", "audio/evil.wav"}
    assert not [path for path in tmp_path.rglob("evil.wav") if path.parent != manifest.parent / "audio"]


def test_all_locales_have_a_set(asked: list[str]) -> None:
    manifests = list(fleurs.fetch("fleurs"))
    assert [manifest.stem for manifest in manifests] == [language.locale for language in LANGUAGES]
    assert "dataset google/fleurs data/cmn_hans_cn/test.tsv" in asked
    assert all(re.fullmatch(r"[a-z]{2,3}(_hans)?_[a-z0-9]{2,3}", name) for name in fleurs.SETS.values())


@pytest.mark.parametrize(("name", "message"), [("fleurs:xx", "language 'xx' is unknown"), ("fleurs:haw-US", "FLEURS")])
@pytest.mark.usefixtures("asked")
def test_an_unknown_locale_is_an_error(name: str, message: str) -> None:
    with pytest.raises(LanguageError, match=message):
        list(fleurs.fetch(name))


def failing(error: Exception) -> Callable[..., str]:
    def download(*_: object, **__: object) -> str:
        raise error

    return download


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalEntryNotFoundError("offline"), "is not on this machine and Hugging Face cannot be reached; run `hf"),
        (OSError("404\n not found"), "cannot be fetched from Hugging Face: 404 not found"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_hub_that_cannot_be_reached_says_what_to_do(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing(error))
    with pytest.raises(ManifestError, match=re.escape(message)):
        list(fleurs.fetch("fleurs:de-DE"))


@pytest.mark.parametrize("file", ["test.tsv", "test.tar.gz"])
def test_a_damaged_set_is_not_taken_for_a_whole_one(asked: list[str], tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(ManifestError, match="cannot be unpacked"):
        list(fleurs.fetch("fleurs:de-DE"))
    assert asked
    assert not list((tmp_path / "home").rglob("*.jsonl"))
