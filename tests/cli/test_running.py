"""The frame around all commands: help without torch, one line per error, exit statuses, no noise."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from nemotron_asr import __version__
from nemotron_asr.cli import commands, running
from nemotron_asr.cli.options import Format
from nemotron_asr.errors import AudioError, CheckpointError, StreamFailedError
from tests.cli.conftest import COMMAND, Run

WITHOUT_TORCH = """
import sys
from nemotron_asr.cli import commands
from nemotron_asr.cli.running import run
status = run(commands, sys.argv[1:])
heavy = {"torch", "av", "numpy", "tokenizers", "huggingface_hub"} & sys.modules.keys()
sys.exit(f"imported {heavy}" if heavy else status)
"""


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["transcribe", "--help"], ["stream", "--help"], ["--version"], ["languages"]]
)
def test_what_needs_no_model_imports_no_torch(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_python_m_is_the_command(process: Run) -> None:
    assert process("--version") == (0, f"nemotron-asr, version {__version__}\n", "")


INTERRUPTED = """
import runpy
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
runpy.run_module("nemotron_asr", run_name="__main__")
"""


def test_an_interruption_of_the_imports_is_one_line_too() -> None:
    command = [sys.executable, "-c", INTERRUPTED, "languages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ninterrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="a shell is needed that closes files")
@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe", "a.wav", "--model", "giant"],
        ["transcribe", "a.wav", "--model", "giant", "--format", "json"],
        ["stream", "a.wav", "--model", "giant"],
        ["languages"],
    ],
)
def test_without_a_standard_output_nothing_is_begun(arguments: list[str]) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: standard output is closed\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "--streams", "0"], "0 is not in the range x>=1"),
        (["bench", "--against", "transformers", "--latency", "80"], "--latency says nothing with --against transform"),
        (["bench", "--server", "http://h", "--model", "tiny"], "--model says nothing with --server; leave it out"),
        (["bench", "--server", "http://h", "--grpc-port", "1"], "--grpc-port says nothing with --server; leave it out"),
        (
            ["bench", "--server", "http://h", "--protocol", "wyoming", "--latency", "80"],
            "with --protocol wyoming; leave",
        ),
        (["bench", "--layers", "2"], "--layers says nothing here; leave it out"),
        (["nonsense"], "'nonsense'"),
        (["--nonsense"], "--nonsense"),
        (["transcribe"], "AUDIO"),
        (["transcribe", "a.wav", "--latency", "100"], "'100' is not one of '80', '160', '320', '560', '1120'"),
        (["transcribe", "a.wav", "--dtype", "int4"], "'int4' is not one of 'auto', 'float32', 'bfloat16', 'int8'"),
        (["transcribe", "a.wav", "--format", "docx"], "'docx' is not one of 'text', 'json', 'jsonl', 'srt', 'vtt'"),
        (["transcribe", "a.wav", "--model", "giant"], "no model 'giant'; choose tiny, nemotron-3.5, nemotron-en"),
        (["transcribe", "a.wav", "--model", "MODEL", "--language", "klingon"], "language 'klingon' is unknown"),
        (["transcribe", "a.wav", "--model", "MODEL", "--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["transcribe", "a.wav", "--output", ""], "'--output': the name is empty; is a variable of the shell not set?"),
        (["transcribe", "a.wav", "--languages", ""], "--languages: the list is empty; is a variable of the shell not"),
        (["stream", "a.wav", "--languages", " ,"], "--languages: the list is empty"),
        (["transcribe", "https://host/a.mp3"], "https://host/a.mp3: recordings are not fetched; download it first"),
        (["transcribe", "-"], "a file on standard input is /dev/stdin on Linux and macOS"),
        (["stream", "https://host/a.mp3"], "recordings are not fetched"),
        (["stream", ""], "a recording's name is empty"),
        (["convert", "MODEL", "", "--to", "native"], "'TARGET': the name is empty"),
        (["stream"], "give one of AUDIO, - and --microphone"),
        (["stream", "a.wav", "--microphone"], "give one of AUDIO, - and --microphone"),
        (["stream", "a.wav", "--model", "MODEL", "--language", "xx-XX"], "language 'xx-XX' is unknown"),
        (["info", "giant"], "no model 'giant'"),
        (["convert", "giant", "new", "--to", "native"], "no model 'giant'"),
        (["convert", "giant", "new", "--to", "onnx"], "'onnx' is not one of 'huggingface', 'nemo', 'native'"),
    ],
)
def test_wrong_usage_is_one_line_with_the_value_and_the_choices(run: Run, arguments: list[str], said: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def raising(error: BaseException) -> click.Command:
    @click.command()
    @running.debug
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (AudioError("a.wav: nothing\nin it"), 1, "error: a.wav: nothing in it\n"),
        (StreamFailedError("its step failed"), 1, "error: its step failed\n"),
        (CheckpointError("no such model"), 2, "error: no such model\n"),
        (PermissionError(13, "Permission denied", "out"), 1, "error: out: Permission denied\n"),
        (OSError("the wrong kind of file"), 1, "error: the wrong kind of file\n"),
        (
            RuntimeError("two\nlines"),
            1,
            "error: unexpected RuntimeError: two (--debug shows where)\n",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_errors_are_one_line(capfd: pytest.CaptureFixture[str], error: BaseException, status: int, said: str) -> None:
    assert running.run(raising(error), []) == status
    assert capfd.readouterr() == ("", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is always full")
@pytest.mark.parametrize("arguments", [["languages"], ["--help"], ["info", "tiny"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    said = b"error: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(
    ("server", "status", "said"),
    [
        ("http://localhost:9", 1, "error: http://localhost:9/metrics cannot be read: "),
        ("localhost", 2, "error: server 'localhost' is not a URL; give http://HOST:PORT"),
    ],
)
def test_a_server_that_does_not_answer_is_named(run: Run, server: str, status: int, said: str) -> None:
    pytest.importorskip("websockets", reason="needs the extra server")
    found, _, err = run("bench", "--server", server)
    assert (found, err.count("\n")) == (status, 1)
    assert err.startswith(said)
    assert "Errno" not in err


def test_a_language_model_that_is_missing_is_named(run: Run, clips: Path) -> None:
    pytest.importorskip("flashlight.lib.text", reason="flashlight-text has no wheels for Python 3.13")
    status, _, err = run("transcribe", clips / "a.opus", "--model", "MODEL", "--lm", "none.arpa")
    assert (status, err) == (2, "error: language model none.arpa cannot be read: No such file or directory\n")


def test_debug_shows_where(process: Run) -> None:
    status, out, err = process("info", "giant", "--debug")
    assert (status, out) == (2, "")
    assert "Traceback" in err
    assert "sources.py" in err
    assert err.endswith("a folder or a .nemo file\n")


def test_every_command_takes_debug_and_h() -> None:
    for command in commands.commands.values():
        assert "--debug" in {name for option in command.params for name in option.opts}
    for arguments in (["-h"], ["languages", "-h"], ["transcribe", "-h"]):
        assert running.run(commands, arguments) == 0


@pytest.mark.parametrize(("name", "form"), [("SRT", "srt"), ("json", "json"), ("TXT", "text"), ("txt", "text")])
def test_formats_in_any_case(name: str, form: str) -> None:
    assert Format(["text", "json", "srt"]).convert(name, None, None) == form


def test_a_file_that_looks_like_an_option_is_recognized(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "begins with" not in run("transcribe", "-dash.wav")[2]
    (tmp_path / "-dash.wav").touch()
    status, _, err = run("transcribe", "-dash.wav")
    assert (status, err.count("\n")) == (2, 1)
    assert err.endswith("No such option '-d'. A file whose name begins with - is given as ./-dash.wav\n")


def test_libraries_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def noisy() -> None:
        warnings.warn("something is old", stacklevel=1)
        logging.getLogger("library").warning("something is odd")

    assert running.run(noisy, []) == 0
    assert capfd.readouterr() == ("", "")
