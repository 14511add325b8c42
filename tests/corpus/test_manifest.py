"""Manifests: strict lines, relative paths."""

from pathlib import Path

import pytest

from nemotron_asr.corpus.manifest import Clip, read_lines, read_manifest
from nemotron_asr.errors import ManifestError

GOOD = '{"audio_filepath": "a.wav", "duration": 2.5, "text": " Neben Deutsch. ", "target_lang": "de-DE"}'


def test_reads_lines_and_resolves_paths_against_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    absolute = GOOD.replace("a.wav", "/data/b.wav").replace("target_lang", "lang")
    path.write_text(f"{GOOD}\n\n{absolute}\n", encoding="utf-8")
    assert read_manifest(path) == [
        Clip(tmp_path / "a.wav", 2.5, "Neben Deutsch.", "de-DE"),
        Clip(Path("/data/b.wav"), 2.5, "Neben Deutsch.", "de-DE"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: a list, not an object"),
        (GOOD.replace('"a.wav"', "3"), "line 2: audio_filepath is 3; it must be a string"),
        (GOOD.replace("target_lang", "language"), "line 2: target_lang is None"),
        (GOOD.replace('"text"', '"words"'), "line 2: text is None"),
        (GOOD.replace("2.5", '"2.5"'), "line 2: duration is '2.5'; it must be a number of seconds"),
        (GOOD.replace("2.5", "-1"), "line 2: duration is -1"),
        (GOOD.replace("2.5", "NaN"), "line 2: duration is nan"),
        (GOOD.replace("2.5", "true"), "line 2: duration is True"),
        (GOOD.replace("2.5", "1" * 400), "line 2: duration is 111"),
        (
            GOOD.replace(" Neben Deutsch. ", "Neben \\ud83d"),
            "line 2: text is 'Neben \\ud83d'; it must be whole characters",
        ),
        (f'{GOOD[:-1]}, "offset": -1}}', "line 2: offset is -1; it must be a number of seconds"),
        (f'{GOOD[:-1]}, "word_ends": 3}}', "line 2: word_ends is 3; it must be a list of seconds"),
        (f'{GOOD[:-1]}, "word_ends": ["1"]}}', "line 2: word_ends is ['1']"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f"{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(ManifestError) as error:
        read_manifest(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_lines_end_where_lines_of_json_end(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    text = "Neben\u2028Deutsch\x85."
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("Neben Deutsch.", text).encode() + b"\r\n")
    assert [clip.text for clip in read_manifest(path)] == [text]


def test_words_may_have_ends(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{GOOD[:-1]}, "word_ends": [0.4, 1]}}\n{GOOD}\n', encoding="utf-8")
    assert [clip.ends for clip in read_manifest(path)] == [(0.4, 1.0), ()]


def test_a_duration_is_a_part_with_an_offset_alone(tmp_path: Path) -> None:
    path, bare = tmp_path / "m.jsonl", GOOD.replace('"duration": 2.5, ', "")
    begun = [
        f'{line[:-1]}, "offset": {offset}}}' for line, offset in ((GOOD, 10.1), (GOOD, 0), (bare, 3), (GOOD, "null"))
    ]
    path.write_text("\n".join([GOOD, bare, *begun]), encoding="utf-8")
    clips = read_manifest(path)
    assert [clip.duration for clip in clips] == [2.5, 0.0, 2.5, 2.5, 0.0, 2.5]
    assert [clip.name.removeprefix(str(tmp_path)) for clip in clips] == [
        "/a.wav", "/a.wav", "/a.wav#t=10.1,12.6", "/a.wav#t=0.0,2.5", "/a.wav#t=3.0", "/a.wav",
    ]  # fmt: skip


def test_bad_lines_can_be_done_without(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\n".join([b"[" * 100_000, b"\xff", b'{"duration": ' + b"1" * 5000 + b"}", GOOD.encode()]))
    *bad, good = read_lines(path)
    assert [str(error).partition(": ")[0] for error in bad] == [f"{path}, line {number}" for number in (1, 2, 3)]
    assert isinstance(good, Clip)


def test_missing_and_empty_manifests_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nothing\.jsonl"):
        read_manifest(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ManifestError, match="lists no clip"):
        read_manifest(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"binary\.jsonl"):
        read_manifest(tmp_path / "binary.jsonl")
