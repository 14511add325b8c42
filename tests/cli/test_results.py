"""Where transcripts are written, and that they are whole."""

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import click
import pytest

from nemotron_asr.cli.inputs import Input
from nemotron_asr.cli.provenance import Provenance
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
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


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
    twins = [Input(f"{folder}/{name}", PurePath(name)) for folder in "xy" for name in ("a.wav", "b.wav")]
    said = (
        r"x/a.wav and y/a.wav would be written to the same file; .* give the folder that holds both, with --recursive"
    )
    with pytest.raises(click.UsageError, match=said):
        Folder(tmp_path, "text", twins)


def test_files_are_utf8_and_whole(tmp_path: Path) -> None:
    (recording,) = recordings("a.wav")
    Folder(tmp_path, "text", [recording]).write(recording, SAID)
    assert (tmp_path / "a.txt").read_bytes() == "Öl.\n".encode()


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = talk(tmp_path / "in" / "a.wav", b"one")
    out = tmp_path / "out"
    written(out, [recording])
    talk(tmp_path / "in" / "a.wav", b"anew")
    results = Folder(out, "text", [recording])

    def fail(_: Path, __: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        results.write(recording, SAID)
    assert sorted(path.name for path in out.iterdir()) == [".transcripts.jsonl", "a.txt"]  # as it was before
    assert not Folder(out, "text", [recording]).has(recording)


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


def talk(path: Path, content: bytes) -> Input:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Input(str(path), PurePath(path.name))


def test_another_recording_of_the_same_name_is_not_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert written(out, [talk(tmp_path / "one" / "a.wav", b"one")]) == ["a.txt"]
    assert written(out, [talk(tmp_path / "two" / "a.wav", b"two")]) == ["a.txt", "a.wav.txt"]
    assert written(out, [talk(tmp_path / "one" / "a.flac", b"three")]) == ["a.flac.txt", "a.txt", "a.wav.txt"]
    third = talk(tmp_path / "three" / "a.wav", b"four")
    with pytest.raises(click.UsageError, match=r"three/a.wav would replace a.wav.txt, which is of .*two/a.wav"):
        Folder(out, "text", [third])


def test_a_finished_transcript_keeps_its_name_when_another_recording_comes(tmp_path: Path) -> None:
    out, first = tmp_path / "out", talk(tmp_path / "in" / "a.wav", b"one")
    written(out, [first])
    both = Folder(out, "text", [talk(tmp_path / "in" / "a.flac", b"two"), first])
    assert both.has(first)
    both.write(Input(str(tmp_path / "in" / "a.flac"), PurePath("a.flac")), SAID)
    assert sorted(path.name for path in out.glob("*.txt")) == ["a.flac.txt", "a.txt"]


def test_a_recording_that_has_moved_is_done_and_one_that_has_changed_is_not(tmp_path: Path) -> None:
    out, first = tmp_path / "out", talk(tmp_path / "one" / "a.wav", b"one")
    written(out, [first])
    moved = talk(tmp_path / "two" / "a.wav", b"one")
    beside = talk(tmp_path / "two" / "a.mp3", b"beside")
    assert Folder(out, "text", [moved]).has(moved)
    assert not Folder(out, "text", [beside]).has(beside)
    assert not Folder(out, "text", [talk(tmp_path / "one" / "a.wav", b"anew")]).has(first)
    (out / "a.txt").unlink()
    assert not Folder(out, "text", [moved]).has(moved)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_with_a_name_is_not_read_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    recording = Input(str(tmp_path / "a.wav"), PurePath("a.wav"))
    for _ in range(2):  # nobody knows what will come out of it the second time
        results = Folder(tmp_path / "out", "text", [recording])
        assert not results.has(recording)
        results.write(recording, SAID)
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["a.txt"]


@pytest.mark.parametrize("age", [0, 2**31])
def test_a_file_of_the_user_is_neither_replaced_nor_taken_for_a_transcript(tmp_path: Path, age: int) -> None:
    recording, notes = talk(tmp_path / "a.wav", b"one"), tmp_path / "a.txt"
    notes.write_text("show notes")
    os.utime(notes, (age, age))
    assert written(tmp_path, [recording]) == ["a.txt", "a.wav", "a.wav.txt"]
    assert notes.read_text() == "show notes"
    notes.unlink()
    assert Folder(tmp_path, "text", [recording]).has(recording)


def test_a_file_of_the_user_that_has_the_long_name_is_not_replaced_either(tmp_path: Path) -> None:
    recording = talk(tmp_path / "a.wav", b"one")
    (tmp_path / "a.wav.txt").touch()
    assert Folder(tmp_path, "text", [recording]).has(recording) is False
    (tmp_path / "a.txt").touch()
    with pytest.raises(click.UsageError, match=r"a.wav would replace a.wav.txt, which is no transcript of it"):
        Folder(tmp_path, "text", [recording])


def test_a_file_that_the_user_writes_meanwhile_stays(tmp_path: Path) -> None:
    recording = talk(tmp_path / "a.wav", b"one")
    results = Folder(tmp_path, "text", [recording])
    (tmp_path / "a.txt").write_text("show notes")
    with pytest.raises(FileExistsError, match="somebody else has put a file there"):
        results.write(recording, SAID)
    assert (tmp_path / "a.txt").read_text() == "show notes"
    assert written(tmp_path, [recording]) == ["a.txt", "a.wav", "a.wav.txt"]


def test_what_another_run_wrote_meanwhile_is_no_strangers(tmp_path: Path) -> None:
    recording, other = talk(tmp_path / "a.wav", b"one"), talk(tmp_path / "more" / "a.wav", b"two")
    out = tmp_path / "out"
    first, second = Folder(out, "text", [recording]), Folder(out, "text", [recording])
    third = Folder(out, "text", [replace(other, place=PurePath("a.wav"))])
    first.write(recording, SAID)
    second.write(recording, SAID)
    with pytest.raises(FileExistsError, match="somebody else"):
        third.write(replace(other, place=PurePath("a.wav")), SAID)
    assert Folder(out, "text", [recording]).has(recording)


def test_a_full_disk_leaves_the_transcript_of_a_recording_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, out = talk(tmp_path / "a.wav", b"one"), tmp_path / "out"
    written(out, [recording])
    before = (out / "a.txt").read_text()
    talk(tmp_path / "a.wav", b"another")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Provenance, "add", full)
    with pytest.raises(OSError, match="No space left"):
        Folder(out, "text", [recording]).write(recording, replace(SAID, segments=()))
    assert (out / "a.txt").read_text() == before
    assert not Folder(out, "text", [recording]).has(recording)


def test_a_kill_as_soon_as_the_file_is_there_leaves_no_unknown_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, place, replace_it = talk(tmp_path / "a.wav", b"one"), tmp_path / "out" / "a.txt", Path.replace

    def kill(draft: Path, target: Path) -> Path:
        replace_it(draft, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        Folder(place.parent, "text", [recording]).write(recording, SAID)
    assert Folder(place.parent, "text", [recording]).has(recording)
    place.unlink()
    assert not Folder(place.parent, "text", [recording]).has(recording)


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path: Path) -> None:
    out, known = tmp_path / "out", tmp_path / "out" / ".transcripts.jsonl"
    first, second, third = (talk(tmp_path / name, name.encode()) for name in ("a.wav", "b.wav", "c.wav"))
    written(out, [first])
    known.write_bytes(known.read_bytes() + b'{"transcript": "x.txt", "rec')
    written(out, [second])
    written(out, [third])
    results = Folder(out, "text", [first, second, third])
    assert all(map(results.has, (first, second, third)))
    assert known.read_bytes().count(b"\n") == 4


def test_what_is_said_of_transcripts_may_be_damaged(tmp_path: Path) -> None:
    recording = talk(tmp_path / "a.wav", b"one")
    (tmp_path / ".transcripts.jsonl").write_bytes(b'\xff{"transcript"\n[1]\n{"transcript": "a.txt"}\n')
    written(tmp_path, [recording])
    assert Folder(tmp_path, "text", [recording]).has(recording)
