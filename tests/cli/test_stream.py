"""`nemotron-asr stream`: the events of a live stream, from a file, standard input or a microphone."""

import json
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray

from nemotron_asr import load
from nemotron_asr.cli import microphone
from nemotron_asr.cli.live import UntilInterrupted
from nemotron_asr.errors import MissingExtraError
from tests.audio.media import encode
from tests.cli.conftest import COMMAND, Run
from tests.conftest import Sample


@pytest.fixture
def sentences(model: str, samples: list[Sample]) -> list[str]:
    """The segments of the first recording at 320 ms; there are several."""
    texts = [segment.text for segment in load(model).transcribe(samples[0].path, latency_ms=320).segments]
    assert len(texts) > 1
    return texts


def pcm(sample: Sample) -> bytes:
    return (sample.audio * 32767).round().astype("<i2").tobytes()


def test_a_pipe_gets_a_line_for_each_segment(run: Run, samples: list[Sample], sentences: list[str]) -> None:
    assert run("stream", samples[0].path, "--model", "MODEL") == (0, "\n".join([*sentences, ""]), "")


def test_jsonl_has_all_events(run: Run, samples: list[Sample], sentences: list[str]) -> None:
    status, out, err = run("stream", samples[0].path, "--model", "MODEL", "--format", "jsonl")
    events = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert {event["type"] for event in events} == {"speech_started", "partial", "final", "speech_ended"}
    assert [event["text"] for event in events if event["type"] == "final"] == sentences
    partial = next(event for event in events if event["type"] == "partial")
    assert sentences[0].startswith(partial["text"])
    assert partial["words"][0].keys() == {"word", "start", "end", "confidence"}


def test_endpointing_and_voice_reach_the_stream(run: Run, model: str, samples: list[Sample]) -> None:
    options, recognizer = ("--model", "MODEL", "--format", "jsonl"), load(model)
    for flags, manner in (
        (("--endpointing", "160"), {"endpointing_ms": 160}),
        (("--endpointing", "none"), {"endpointing_ms": None}),
        (("--vad",), {"vad": True}),
    ):
        said = recognizer.transcribe(samples[0].path, latency_ms=320, **manner)
        status, out, _ = run("stream", samples[0].path, *options, *flags)
        texts = [event["text"] for event in map(json.loads, out.splitlines()) if event["type"] == "final"]
        assert (status, texts) == (0, [segment.text for segment in said.segments])
    assert run("stream", samples[0].path, *options, "--endpointing", "soon")[0] == 2


def test_latency_and_language_reach_the_model(run: Run, model: str, samples: list[Sample]) -> None:
    said = load(model).transcribe(samples[0].path, language="fr-FR", latency_ms=80)
    status, out, _ = run(
        *("stream", samples[0].path, "--model", "MODEL", "--format", "jsonl", "--language", "fr", "--latency", "80")
    )
    finals = [event for event in map(json.loads, out.splitlines()) if event["type"] == "final"]
    assert status == 0
    assert [final["text"] for final in finals] == [segment.text for segment in said.segments]
    assert {final["language"] for final in finals} == {"fr-FR"}


def test_stdin_is_raw_samples(process: Run, samples: list[Sample], model: str) -> None:
    heard = np.frombuffer(pcm(samples[1]), np.int16)
    said = load(model).transcribe((heard, 16_000), latency_ms=320)
    wanted = "".join(f"{segment.text}\n" for segment in said.segments)
    assert process("stream", "-", "--model", "MODEL", stdin=pcm(samples[1]) + b"\0") == (0, wanted, "")


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "standard input: no audio samples"),
        (b"RIFF\x24\x80\x00\x00WAVEfmt ", "standard input: this is WAV, not raw 16-bit samples"),
    ],
)
def test_stdin_without_raw_samples_is_an_error(process: Run, stdin: bytes, said: str) -> None:
    status, out, err = process("stream", "-", "--model", "MODEL", stdin=stdin)
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("wav", "pcm_s16le", "WAV"),
        ("aiff", "pcm_s16be", "AIFF"),
        ("ogg", "libopus", "Ogg"),
        ("flac", "flac", "FLAC"),
        ("mp3", "libmp3lame", "MP3"),
        ("mp4", "aac", "MP4"),
        ("ipod", "aac", "MP4"),
        ("matroska", "libopus", "Matroska or WebM"),
        ("webm", "libopus", "Matroska or WebM"),
    ],
)
def test_recordings_are_not_taken_for_raw_samples(
    run: Run,
    samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    container: str,
    codec: str,
    name: str,
) -> None:
    recording = tmp_path / "talk"
    recording.write_bytes(encode(samples[1].audio, 16_000, container, codec))
    with recording.open("rb") as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        status, out, err = run("stream", "-", "--model", "MODEL")
    assert (status, out) == (1, "")
    assert err == f"error: standard input: this is {name}, not raw 16-bit samples; give the file's name instead\n"


def test_a_file_that_is_no_audio_is_an_error(run: Run, tmp_path: Path) -> None:
    assert run("stream", tmp_path / "none.wav", "--model", "MODEL") == (
        1,
        "",
        f"error: {tmp_path / 'none.wav'}: No such file or directory\n",
    )


def test_words_come_while_stdin_is_open_and_ctrl_c_keeps_the_last(model: str, samples: list[Sample]) -> None:
    with subprocess.Popen(
        [*COMMAND, "stream", "-", "--model", model, "--format", "jsonl"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(pcm(samples[0]))
        started.stdin.flush()
        first = json.loads(started.stdout.readline())
        partial = json.loads(started.stdout.readline())
        started.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in started.stdout]
        assert started.wait(timeout=60) == 130
    assert (first["type"], partial["type"]) == ("speech_started", "partial")
    assert rest[-1]["type"] == "speech_ended"


def test_ctrl_c_does_not_break_into_the_model() -> None:
    packets = UntilInterrupted(np.zeros(1, np.int16) for _ in range(9))
    taken = 0
    for _ in packets:
        taken += 1
        signal.raise_signal(signal.SIGINT)
    assert taken == 1
    assert packets.interrupted


def test_ctrl_c_ends_waiting() -> None:
    def endless() -> Iterator[NDArray[np.int16]]:
        yield np.zeros(1, np.int16)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("Ctrl-C was not heard")

    packets = UntilInterrupted(endless())
    assert len(list(packets)) == 1
    assert packets.interrupted


def test_the_microphone_names_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    status, out, err = run("stream", "--microphone", "--model", "MODEL")
    assert (status, out) == (2, "")
    assert "pip install 'nemotron-asr[mic]'" in err


def test_the_microphone_names_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(microphone, "import_module", fail)
    with pytest.raises(MissingExtraError, match="PortAudio library not found"):
        microphone.from_microphone(0.32)


class HeardOut(queue.SimpleQueue[bytes]):
    """Presses Ctrl-C when everything has been taken."""

    def get(self, block: bool = True, timeout: float | None = None) -> bytes:
        if self.empty():
            signal.raise_signal(signal.SIGINT)
        return super().get(block, timeout)


class FakeInput:
    """A sound device that has heard a recording when it opens."""

    def __init__(self, audio: bytes, callback: Callable[..., None], blocksize: int) -> None:
        self.audio, self.callback, self.size = audio, callback, 2 * blocksize

    def __enter__(self) -> Self:
        for start in range(0, len(self.audio), self.size):
            self.callback(memoryview(self.audio)[start : start + self.size], 0, None, None)
        return self

    def __exit__(self, *_: object) -> None: ...


def test_the_microphone_is_heard_until_ctrl_c(
    run: Run, monkeypatch: pytest.MonkeyPatch, samples: list[Sample], model: str
) -> None:
    def open_input(
        *, samplerate: int, channels: int, dtype: str, blocksize: int, callback: Callable[..., None]
    ) -> FakeInput:
        assert (samplerate, channels, dtype, blocksize) == (16_000, 1, "int16", 5120)
        return FakeInput(pcm(samples[0]), callback, blocksize)

    device = SimpleNamespace(
        PortAudioError=OSError,
        query_devices=lambda kind: {"name": f"fake {kind}", "default_samplerate": 16_000.0},
        RawInputStream=open_input,
    )
    monkeypatch.setattr(microphone, "import_module", lambda _: device)
    monkeypatch.setattr(queue, "SimpleQueue", HeardOut)
    status, out, err = run("stream", "--microphone", "--model", "MODEL")
    said = load(model).transcribe((np.frombuffer(pcm(samples[0]), np.int16), 16_000), latency_ms=320)
    assert (status, err) == (0, "listening to fake input; Ctrl-C ends\n")
    assert out.splitlines() == [segment.text for segment in said.segments]


def test_a_standard_input_that_is_closed_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    status, _, errors = run("stream", "-", "--model", "MODEL")
    assert (status, errors.splitlines()[-1]) == (1, "error: standard input is closed")
