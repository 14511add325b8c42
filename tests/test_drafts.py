"""A file that is written is there whole, or as it was."""

from pathlib import Path

import pytest

from nemotron_asr.drafts import drafted


@pytest.mark.parametrize("shared", [False, True])
def test_it_gets_its_name_when_it_is_finished(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with drafted(path, shared=shared) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_or_is_interrupted_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with drafted(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_shared_drafts_are_short_for_names_that_are_as_long_as_they_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    with drafted(path, shared=True) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"
