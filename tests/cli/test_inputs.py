"""What is on the command line becomes a list of recordings."""

from pathlib import Path, PurePath

import click
import pytest

from nemotron_asr.cli.inputs import Input, collect


def test_files_are_taken_as_they_are_named() -> None:
    found, wrong = collect(["talks/one.wav", "two"], recursive=False)
    assert not wrong
    assert found == [Input("talks/one.wav", PurePath("one.wav")), Input("two", PurePath("two"))]


def test_a_folder_gives_its_recordings_sorted_with_their_places(clips: Path) -> None:
    found, _ = collect([str(clips)], recursive=True)
    assert [recording.place.as_posix() for recording in found] == ["a.opus", "b.opus", "more/c.OPUS"]
    assert [Path(recording.name) for recording in found] == [clips / recording.place for recording in found]


def test_a_folder_needs_recursive(clips: Path) -> None:
    with pytest.raises(click.UsageError, match="clips is a folder; add --recursive"):
        collect([str(clips / "a.opus"), str(clips)], recursive=False)


def test_folders_without_recordings_are_an_error_if_there_is_nothing_else(clips: Path, tmp_path: Path) -> None:
    barren = tmp_path / "barren"
    barren.mkdir()
    (barren / "notes.txt").touch()
    with pytest.raises(click.UsageError, match="barren holds no audio or video file"):
        collect([str(barren)], recursive=True)
    found, without = collect([str(barren), str(clips), str(barren)], recursive=True)
    assert (len(found), without) == (3, [f"{barren} holds no audio or video file"])


def test_an_empty_name_is_an_error() -> None:
    with pytest.raises(click.UsageError, match="a recording's name is empty"):
        collect(["a.wav", ""], recursive=False)


def test_links_to_folders_are_not_followed(clips: Path) -> None:
    (clips / "again").symlink_to(clips, target_is_directory=True)
    (clips / "linked.opus").symlink_to(clips / "a.opus")
    found, wrong = collect([str(clips)], recursive=True)
    assert [recording.place.as_posix() for recording in found] == ["a.opus", "b.opus", "linked.opus", "more/c.OPUS"]
    assert not wrong


def test_hidden_folders_are_not_meant(clips: Path) -> None:
    (clips / "more").rename(clips / ".more")
    found, _ = collect([str(clips)], recursive=True)
    assert [recording.place.as_posix() for recording in found] == ["a.opus", "b.opus"]


def test_nothing_is_taken_twice(clips: Path) -> None:
    first = str(clips / "b.opus")
    found, _ = collect([first, str(clips), first, str(clips)], recursive=True)
    assert [Path(recording.name).name for recording in found] == ["b.opus", "a.opus", "c.OPUS"]
