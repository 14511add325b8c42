"""What a person sees: a bar that moves, captions that grow in place; and none of it on a pipe."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from nemotron_asr import load
from tests.cli.conftest import COMMAND
from tests.conftest import Sample

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(*arguments: str, pipe_stdout: bool = False) -> tuple[int, str, str]:
    """Exit status, what the terminal got, and what the pipe got."""
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if pipe_stdout else theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    while data := _read(ours):
        shown += data
    os.close(ours)
    piped, _ = started.communicate(timeout=60)
    return started.returncode, shown.decode(), (piped or b"").decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports the other side's end as an error
        return b""


def test_a_bar_on_stderr_and_only_results_on_the_pipe(model: str, clips: Path) -> None:
    status, shown, piped = on_terminal("transcribe", "--model", model, "--recursive", str(clips), pipe_stdout=True)
    assert status == 0
    assert "loading the model" in shown
    assert "100%" in shown
    assert {"1 of 3", "2 of 3", "3 of 3"} <= set(re.findall(r"\d of \d", shown))
    assert len(piped.splitlines()) == 3
    assert "\x1b" not in piped


def test_results_stand_between_bars(model: str, clips: Path) -> None:
    bad = clips / "bad.wav"
    bad.write_bytes(b"no audio")
    status, shown, _ = on_terminal("transcribe", "--model", model, str(clips / "a.opus"), str(bad))
    lines = [line.split("\r")[-1] for line in ESCAPES.sub("", shown).replace("\r\n", "\n").split("\n")]
    said = load(model).transcribe(clips / "a.opus").text
    assert status == 1
    assert f"{clips / 'a.opus'}: {said}" in lines
    assert any(line.startswith(f"error: {bad}: ") for line in lines)


def test_captions_grow_in_place(model: str, samples: list[Sample]) -> None:
    status, shown, _ = on_terminal("stream", "--model", model, samples[0].path)
    segments = load(model).transcribe(samples[0].path, latency_ms=320).segments
    plain = ESCAPES.sub("", shown)
    assert status == 0
    for segment in segments:
        assert f"{segment.text}\r\n" in plain
    assert f"{segments[0].words[0].word}" in plain.split(f"{segments[0].text}\r\n")[0]
    assert plain.count("\n") <= len(segments) + 1


def test_tables_have_headings(model: str) -> None:
    status, shown, _ = on_terminal("languages")
    assert status == 0
    assert re.search(r"locale +language +tier", ESCAPES.sub("", shown))
    assert "113," in on_terminal("info", model)[1]
