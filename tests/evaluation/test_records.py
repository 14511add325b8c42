"""An evaluation goes on where it stopped, with the same model only."""

from dataclasses import replace
from pathlib import Path

import pytest

from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.parts import Part
from nemotron_asr.errors import OptionError
from nemotron_asr.evaluation.recognition import Mode, Recognition
from nemotron_asr.evaluation.records import Records, recognize_rest
from nemotron_asr.recognizer import Recognizer
from tests.evaluation.conftest import recognition

MODEL = {"model": "tiny", "weights": "abc"}
CLIP = Clip(Path("a.wav"), 0.0, "zwei Wörter", "de-DE")
HEARD = recognition(CLIP.text, "zwo \U0001f600 \u2028 \ud800", ends=(1.0, 1.5))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "results.jsonl"
    with Records(path, MODEL) as records:
        records.add(HEARD)
    return path


def test_what_was_written_is_found_again(written: Path) -> None:
    with Records(written, MODEL) as records:
        assert records.find(CLIP, Mode.AUTO, 80) == HEARD
        assert records.find(CLIP, Mode.AUTO, 160) is None
        assert records.find(CLIP, Mode.LANGUAGE, 80) is None
        assert records.find(replace(CLIP, text="andere Wörter"), Mode.AUTO, 80) is None
        assert records.find(replace(CLIP, part=Part(1.0, 2.0)), Mode.AUTO, 80) is None
    assert written.read_bytes().count(b"\n") == 2


def test_ends_of_words_may_be_known_later(written: Path) -> None:
    with Records(written, MODEL) as records:
        found = records.find(replace(CLIP, ends=(0.5, 0.9)), Mode.AUTO, 80)
    assert found == replace(HEARD, ends=(0.5, 0.9))


def test_a_line_that_was_not_finished_is_dropped(written: Path) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole + whole[:-9].split(b"\n")[1])
    with Records(written, MODEL) as records:
        records.add(recognition("drei", "drei", audio="b.wav"))
    with Records(written, MODEL) as records:
        assert records.find(CLIP, Mode.AUTO, 80) == HEARD
        assert records.find(replace(CLIP, path=Path("b.wav"), text="drei"), Mode.AUTO, 80)
    assert written.read_bytes().startswith(whole)


def test_a_file_whose_first_line_was_not_finished_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"mod')
    with Records(path, MODEL) as records:
        records.add(HEARD)
    with Records(path, MODEL) as records:
        assert records.find(CLIP, Mode.AUTO, 80) == HEARD


def test_results_of_another_model_are_refused(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(OptionError, match=r"results of .*'abc'.*give another file"):
        Records(written, {**MODEL, "weights": "abd"})
    assert written.read_bytes() == before


@pytest.mark.parametrize(
    "content", ["[1]\n{}\n", '{"a": 1}\n{"audio": 3}\n', "hello\n", "[" * 100_000 + "\n", "{}\n\xff\n"]
)
def test_another_kind_of_file_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(OptionError, match=r"results\.jsonl"):
        Records(path, MODEL)
    assert path.read_text(encoding="latin-1") == content


def test_only_what_is_missing_is_heard(recognizer: Recognizer, clips: list[Clip], tmp_path: Path) -> None:
    path, some = tmp_path / "results.jsonl", clips[:2]
    with Records(path, MODEL) as records:
        first = list(recognize_rest(recognizer, some[:1], [(Mode.AUTO, 1120)], records, 1))
    with Records(path, MODEL) as records:
        both = list(recognize_rest(recognizer, [*some, CLIP], [(Mode.AUTO, 1120)], records, 1))
    assert both[0] == first[0]
    assert isinstance(both[1], Recognition)
    assert not isinstance(both[2], Recognition)  # tried again next time
    with Records(path, MODEL) as records:
        assert [records.find(clip, Mode.AUTO, 1120) for clip in some] == both[:2]
