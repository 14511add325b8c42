"""`nemotron-asr transcribe`, from files on disk to what is printed or written."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nemotron_asr import Recognizer, load
from nemotron_asr.transcript import Transcript
from tests.audio.media import stereo
from tests.cli.conftest import COMMAND, Run
from tests.conftest import Sample


@pytest.fixture(scope="module")
def recognizer(model: str) -> Recognizer:
    return load(model)


@pytest.fixture(scope="module")
def heard(recognizer: Recognizer, samples: list[Sample]) -> Transcript:
    """What the model makes of the first recording, which is something."""
    transcript = recognizer.transcribe(samples[0].path)
    assert len(transcript.words) > 5
    return transcript


def test_one_recording_prints_its_text(run: Run, samples: list[Sample], heard: Transcript) -> None:
    assert run("transcribe", samples[0].path, "--model", "MODEL") == (0, f"{heard.text}\n", "")


def test_several_recordings_print_their_names_too(run: Run, samples: list[Sample], recognizer: Recognizer) -> None:
    paths = [sample.path for sample in samples]
    status, out, err = run("transcribe", *paths, "--model", "MODEL")
    assert (status, err) == (0, "")
    assert out.splitlines() == [f"{path}: {recognizer.transcribe(path).text}" for path in paths]


def test_json_is_the_transcript(run: Run, samples: list[Sample], heard: Transcript) -> None:
    status, out, _ = run("transcribe", samples[0].path, "--model", "MODEL", "--format", "json")
    assert status == 0
    assert json.loads(out) == heard.to_dict()
    assert list(json.loads(out)) == ["file", "duration", "language", "text", "segments"]


def test_json_of_several_is_an_array_without_those_that_fail(run: Run, clips: Path) -> None:
    paths = [clips / "a.opus", clips / "notes.txt", clips / "b.opus"]
    status, out, err = run("transcribe", *paths, "--model", "MODEL", "--format", "json")
    assert [entry["file"] for entry in json.loads(out)] == [str(paths[0]), str(paths[2])]
    assert status == 1
    assert str(paths[1]) in err


def test_json_of_several_that_all_fail_is_an_empty_array(run: Run, clips: Path) -> None:
    status, out, _ = run("transcribe", clips / "notes.txt", "none.wav", "--model", "MODEL", "--format", "json")
    assert (status, json.loads(out)) == (1, [])


def test_jsonl_is_a_line_for_each(run: Run, clips: Path) -> None:
    status, out, _ = run("transcribe", clips, "--recursive", "--model", "MODEL", "--format", "jsonl")
    assert status == 0
    assert [Path(json.loads(line)["file"]).name for line in out.splitlines()] == ["a.opus", "b.opus", "c.OPUS"]


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles(run: Run, samples: list[Sample], heard: Transcript, form: str) -> None:
    wanted = heard.to_srt() if form == "srt" else heard.to_vtt()
    assert run("transcribe", samples[0].path, "--model", "MODEL", "--format", form) == (0, wanted, "")


def test_subtitles_of_several_need_a_folder(run: Run, clips: Path) -> None:
    status, out, err = run("transcribe", clips, "--recursive", "--model", "MODEL", "--format", "srt")
    assert (status, out) == (2, "")
    assert "add --output DIR" in err


def test_options_reach_the_model(run: Run, samples: list[Sample], recognizer: Recognizer) -> None:
    path = samples[0].path
    wanted = recognizer.transcribe(path, language="de", latency_ms=80)
    status, out, _ = run(
        *("transcribe", path, "--model", "MODEL", "--format", "json"),
        *("--language", "de_de", "--latency", "80", "--device", "cpu", "--dtype", "float32"),
    )
    assert status == 0
    assert json.loads(out) == wanted.to_dict()
    assert json.loads(out)["language"] == "de-DE"


def test_language_tags_can_be_kept(run: Run, samples: list[Sample], heard: Transcript) -> None:
    _, out, _ = run("transcribe", samples[0].path, "--model", "MODEL", "--keep-language-tags")
    assert "<de-DE>" not in heard.text
    assert "<de-DE>" in out


def test_words_are_masked_and_numbers_written(
    run: Run, samples: list[Sample], heard: Transcript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, words = samples[0].path, tmp_path / "words.txt"
    words.write_text(f"# not to be read\n{heard.words[0].word.upper()}\n")
    command = ("transcribe", path, "--model", "MODEL", "--profanity-filter", words)
    status, out, err = run(*command, "--itn")
    assert (status, err) == (0, "")
    assert out.startswith(heard.text[0] + "*" * (len(heard.words[0].word) - 1))
    monkeypatch.setitem(sys.modules, "text_to_num", None)
    assert run(*command) == (0, out, "")
    status, out, err = run(*command, "--itn")
    assert (status, out) == (2, "")
    assert "pip install 'nemotron-asr[itn]'" in err


def test_a_word_list_that_is_missing_is_named(run: Run, samples: list[Sample]) -> None:
    status, out, err = run("transcribe", samples[0].path, "--profanity-filter", "none.txt")
    assert (status, out, err) == (2, "", "error: none.txt: No such file or directory\n")


def test_channels_apart_are_speakers(run: Run, samples: list[Sample], recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(stereo(samples[0].audio, samples[1].audio))
    wanted = recognizer.transcribe(path, channels="separate")
    command = ("transcribe", path, "--model", "MODEL", "--channels", "separate")
    assert json.loads(run(*command, "--format", "json")[1]) == wanted.to_dict()
    status, out, err = run(*command)
    assert (status, err) == (0, "")
    assert {line.partition(": ")[0] for line in out.splitlines()} == {"channel 0", "channel 1"}
    assert run(*command, "--format", "srt") == (0, wanted.to_srt(), "")


def test_what_cannot_be_decoded_is_reported_and_the_rest_go_on(run: Run, clips: Path, tmp_path: Path) -> None:
    empty, missing = tmp_path / "empty.wav", tmp_path / "missing.wav"
    empty.touch()
    status, out, err = run("transcribe", empty, clips / "a.opus", missing, clips / "b.opus", "--model", "MODEL")
    assert status == 1
    assert len(out.splitlines()) == 2
    first, second, summary = err.splitlines()
    assert first.startswith(f"error: {empty}: ")
    assert second == f"error: {missing}: No such file or directory"
    assert summary == "2 of 4 failed"


def test_an_empty_folder_counts_as_failed_and_the_rest_go_on(run: Run, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, out, err = run("transcribe", tmp_path / "empty", clips, "--recursive", "--model", "MODEL")
    assert (status, len(out.splitlines())) == (1, 3)
    assert err == f"error: {tmp_path / 'empty'} holds no audio or video file\n1 of 4 failed\n"


def test_a_folder_that_cannot_be_read_counts_as_failed_and_the_rest_go_on(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, look = clips / "more", os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        """Refuse to list a folder; the user who runs the tests may list any."""
        if Path(path) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(locked))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    status, out, err = run("transcribe", clips, "--recursive", "--model", "MODEL")
    assert (status, len(out.splitlines())) == (1, 2)
    assert err == f"error: {locked}: Permission denied\n1 of 3 failed\n"
    alone = run("transcribe", locked, "--recursive", "--model", "MODEL")
    assert alone == (1, "", f"error: {locked}: Permission denied\n")


def test_output_has_a_file_for_each_and_keeps_folders(run: Run, clips: Path, tmp_path: Path) -> None:
    status, out, err = run("transcribe", clips, "--recursive", "--model", "MODEL", "--output", tmp_path / "out")
    assert (status, out, err) == (0, "", "")
    written = sorted(path for path in (tmp_path / "out").rglob("[!.]*") if path.is_file())
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == ["a.txt", "b.txt", "more/c.txt"]
    assert all(path.read_text(encoding="utf-8").endswith("\n") for path in written)


def test_output_skips_what_is_done(run: Run, clips: Path, tmp_path: Path) -> None:
    command = ("transcribe", "--model", "MODEL", "--output", tmp_path / "out", "--format", "json")
    assert run(*command, clips / "a.opus") == (0, "", "")
    assert run(*command, clips, "--recursive") == (0, "", "1 of 3 done already, skipped\n")
    said = (tmp_path / "out" / "more" / "c.json").read_text(encoding="utf-8")
    assert json.loads(said)["file"] == str(clips / "more" / "c.OPUS")
    assert run(*command, clips, "--recursive") == (0, "", "3 of 3 done already, skipped\n")


def test_transcripts_beside_the_recordings_leave_what_is_there(run: Run, clips: Path) -> None:
    for name, written_at in (("a.txt", 0), ("b.txt", 2**31)):
        (clips / name).write_text("show notes")
        os.utime(clips / name, (written_at, written_at))
    command = ("transcribe", clips, "--recursive", "--model", "MODEL", "--output", clips)
    assert run(*command) == (0, "", "")
    assert [(clips / name).read_text() for name in ("a.txt", "b.txt")] == ["show notes"] * 2
    assert all((clips / name).is_file() for name in ("a.opus.txt", "b.opus.txt", "more/c.txt"))
    assert run(*command) == (0, "", "3 of 3 done already, skipped\n")


def test_a_failure_is_tried_again(run: Run, clips: Path, tmp_path: Path) -> None:
    bad = clips / "bad.wav"
    bad.write_bytes(b"not audio at all")
    command = ("transcribe", bad, clips / "a.opus", "--model", "MODEL", "--output", tmp_path / "out")
    assert run(*command)[0] == 1
    assert run(*command)[0] == 1
    shutil.copy(clips / "b.opus", bad)
    assert run(*command) == (0, "", "1 of 2 done already, skipped\n")


def test_names_of_unicode_and_odd_characters(process: Run, clips: Path, tmp_path: Path) -> None:
    odd = clips / "größe [x] 東京 & 'q'.opus"
    shutil.copy(clips / "a.opus", odd)
    status, out, err = process(
        *("transcribe", odd, "--model", "MODEL", "--format", "json"),
        LC_ALL="C",
        PYTHONIOENCODING="ascii",
    )
    assert (status, err) == (0, "")
    assert json.loads(out)["file"] == str(odd)
    assert "東京" in out
    process("transcribe", odd, "--model", "MODEL", "--output", tmp_path / "out")
    assert (tmp_path / "out" / odd.with_suffix(".txt").name).exists()


def long_recording(path: Path, minutes: int) -> Path:
    noise = np.random.default_rng(0).integers(-3000, 3000, 16_000 * 60, dtype="<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(minutes):
            file.writeframes(noise)
    return path


def test_an_interrupted_run_loses_nothing_and_goes_on(run: Run, model: str, clips: Path, tmp_path: Path) -> None:
    long, out = long_recording(tmp_path / "long.wav", 60), tmp_path / "out"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    started = subprocess.Popen(
        [*COMMAND, "transcribe", clips / "a.opus", long, "--model", model, "--output", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (out / "a.txt").exists() and started.poll() is None:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    printed, said = started.communicate(timeout=60)
    assert (started.returncode, printed, said) == (130, "", "\ninterrupted\n")
    assert [path.name for path in out.glob("[!.]*")] == ["a.txt"]
    again = run("transcribe", clips / "a.opus", clips / "b.opus", "--model", "MODEL", "--output", out)
    assert again == (0, "", "1 of 2 done already, skipped\n")


def test_a_closed_pipe_is_quiet(model: str, clips: Path) -> None:
    started = subprocess.Popen(
        [*COMMAND, "transcribe", clips, "--recursive", "--model", model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    assert started.stderr.read() == b""
    started.stderr.close()
    assert started.wait(timeout=60) == 1


def test_stderr_is_silent_in_a_process_of_its_own(process: Run, samples: list[Sample], heard: Transcript) -> None:
    assert process("transcribe", samples[0].path, "--model", "MODEL") == (0, f"{heard.text}\n", "")


def test_what_cannot_be_written_is_named_and_the_rest_is(run: Run, samples: list[Sample], tmp_path: Path) -> None:
    """A name may be as long as names can be."""
    out, sources = tmp_path / "out", [tmp_path / f"{stem}.wav" for stem in ("b" * 249, "c" * 251)]
    for source in sources:
        shutil.copy(samples[0].path, source)
    assert run("transcribe", "--model", "MODEL", *sources, "--output", out)[0] == 0
    assert {path.name for path in out.glob("[!.]*")} == {source.with_suffix(".txt").name for source in sources}
    status, _, errors = run("transcribe", "--model", "MODEL", *sources, "--format", "json", "--output", out)
    assert status == 1
    target = out / f"{'c' * 251}.json"
    assert f"c.wav was transcribed, but the transcript cannot be written: {target}: " in errors
    assert (out / f"{'b' * 249}.json").is_file()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_ends_it_and_the_same_command_continues(
    run: Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out, replace_it = tmp_path / "out", Path.replace
    command = ("transcribe", clips, "--recursive", "--model", "MODEL", "--output", out)

    def fill(draft: Path, target: Path) -> Path:
        if any(out.rglob("*.txt")):
            raise OSError(number, os.strerror(number))
        return replace_it(draft, target)

    monkeypatch.setattr(Path, "replace", fill)
    status, printed, errors = run(*command)
    assert (status, printed, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"error: {out}")
    assert errors.endswith(f": {os.strerror(number)}\n")
    monkeypatch.undo()
    assert run(*command) == (0, "", "1 of 3 done already, skipped\n")


def test_a_folder_that_cannot_be_is_known_first(run: Run, samples: list[Sample], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, _, errors = run("transcribe", "--model", "nowhere", samples[0].path, "--output", tmp_path / "file/sub")
    assert status == 1
    assert errors.startswith(f"error: {tmp_path / 'file/sub'}: ")
    assert "nowhere" not in errors


def test_a_name_that_is_too_long_stops_nobody(run: Run, samples: list[Sample], heard: Transcript) -> None:
    status, out, errors = run("transcribe", "--model", "MODEL", samples[0].path, "x" * 300)
    assert status == 1
    assert heard.text in out
    assert "xxx" in errors


def test_phrases_that_are_no_text_are_named(run: Run, samples: list[Sample], tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"Stra\xdfe\n")
    status, _, errors = run("transcribe", "--model", "MODEL", samples[0].path, "--boost-file", tmp_path / "latin.txt")
    assert (status, "latin.txt is not a text in UTF-8" in errors) == (2, True)
