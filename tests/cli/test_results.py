"""Where transcripts are written, and that they are whole."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import click
import pytest

from nemotron_asr.cli.inputs import Input
from nemotron_asr.cli.results import RENDER, Folder, Printed
from nemotron_asr.events import Segment, Word
from nemotron_asr.transcript import Transcript

SAID = Transcript(1.0, "de-DE", (Segment(0.0, 0.4, "Öl.", "de-DE", 0.9, (Word("Öl.", 0.0, 0.4, 0.9),)),))


TALK = replace(
    SAID,
    segments=tuple(
        replace(SAID.segments[0], speaker=f"channel {speaker}", text=text, spaced=True)
        for speaker, text in ((0, "Shall"), (0, "we?"), (1, "Yes."), (0, "Good."))
    ),
)


def recordings(*places: str) -> list[Input]:
    return [Input(f"in/{place}", PurePath(place)) for place in places]


@pytest.fixture(autouse=True)
def _somewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("recordings"))


def _record(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def written(folder: Path, listed: Sequence[Input], form: str = "text") -> list[str]:
    results = Folder(folder, form, listed)
    for recording in listed:
        _record(Path(recording.name))
        assert not results.has(recording)
        results.write(recording, SAID)
        assert results.has(recording)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_names(tmp_path: Path) -> None:
    assert written(tmp_path, recordings("a.wav", "more/a.wav", "b.tar.mp3", "c")) == [
        *("a.txt", "b.tar.txt", "c.txt", "more/a.txt"),
    ]


@pytest.mark.parametrize("form", ["json", "jsonl", "srt", "vtt"])
def test_suffix_is_the_format(tmp_path: Path, form: str) -> None:
    assert written(tmp_path, recordings("a.wav"), form) == [f"a.{form}"]


def test_equal_stems_keep_their_suffixes(tmp_path: Path) -> None:
    assert written(tmp_path, recordings("a.wav", "A.mp3", "b.wav")) == ["A.mp3.txt", "a.wav.txt", "b.txt"]


def test_equal_names_are_an_error(tmp_path: Path) -> None:
    twins = [Input("x/a.wav", PurePath("a.wav")), Input("y/a.wav", PurePath("a.wav"))]
    with pytest.raises(click.UsageError, match=r"x/a.wav and y/a.wav would be written to the same file"):
        Folder(tmp_path, "text", twins)


def test_files_are_utf8_and_whole(tmp_path: Path) -> None:
    (recording,) = recordings("a.wav")
    Folder(tmp_path, "text", [recording]).write(recording, SAID)
    assert (tmp_path / "a.txt").read_bytes() == "Öl.\n".encode()


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recording,) = recordings("a.wav")
    results = Folder(tmp_path, "text", [recording])

    def fail(_: Path, __: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        results.write(recording, SAID)
    assert list(tmp_path.iterdir()) == []


def test_speakers_have_a_line_for_each_turn() -> None:
    assert RENDER["text"](TALK) == "channel 0: Shall we?\nchannel 1: Yes.\nchannel 0: Good.\n"
    assert RENDER["text"](SAID) == "Öl.\n"
    assert RENDER["text"](replace(SAID, segments=())) == "\n"


def test_every_line_has_its_recording(capsys: pytest.CaptureFixture[str]) -> None:
    listed = recordings("a.wav", "b.wav")
    results = Printed("text", listed)
    results.write(listed[0], SAID)
    results.write(listed[1], TALK)
    assert capsys.readouterr().out == (
        "in/a.wav: Öl.\nin/b.wav: channel 0: Shall we?\nin/b.wav: channel 1: Yes.\nin/b.wav: channel 0: Good.\n"
    )
