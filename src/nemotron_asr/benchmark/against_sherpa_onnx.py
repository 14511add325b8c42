"""Ours against sherpa-onnx, which runs exported files: the same audio and threads, in one run, taking turns.

    nemotron-asr bench --against sherpa-onnx --files FOLDER --model MODEL

A folder holds `encoder.onnx`, `decoder.onnx` and `joiner.onnx`, or the same with 8-bit weights as `encoder.int8.onnx`
and so on, or both, and `tokens.txt`: what sherpa-onnx's exporter writes for one chunk size. The model is the one that
was exported, in a form that ours reads. `python -m benchmarks.export_sherpa` writes both with random weights.

Live audio comes in packets of 20 ms, a recording at once. sherpa-onnx computes features in its own way: its frames lie
5 ms later, silence has another floor, and what it hears first is only the past of the first chunk. A little silence
before the audio makes good for all but the floor, so that tokens may differ in float32, too.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sherpa_onnx
import torch

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.comparison import LEGEND, compare, print_headings
from nemotron_asr.benchmark.contenders import Ours, Stopwatch, Tokens
from nemotron_asr.config import HOP, SAMPLE_RATE, SUBSAMPLING
from nemotron_asr.errors import OptionError
from nemotron_asr.recognizer import load

KINDS = {"float32": "", "int8": ".int8"}
"""What the weights of a file are, and what its name says of it."""

PACKET = SAMPLE_RATE // 50
"""Samples of live audio that come at once."""

AGAIN = SUBSAMPLING + 1
"""Mel frames before a chunk that it hears again."""

LEAD = np.zeros(2 * SUBSAMPLING * HOP + HOP // 2, np.float32)
"""Silence before the audio: two encoder frames, which the first chunk has for its past, and half a mel frame."""

TAIL = np.zeros(HOP, np.float32)
"""Silence after the audio: sherpa-onnx waits for one mel frame more than it needs."""


class SherpaOnnx:
    """sherpa-onnx, as its examples show."""

    def __init__(self, folder: Path, kind: str) -> None:
        names = {part: str(folder / f"{part}{KINDS[kind]}.onnx") for part in ("encoder", "decoder", "joiner")}
        symbols = (folder / "tokens.txt").read_text(encoding="utf-8").splitlines()
        self._ids = {symbol.replace("▁", " "): int(i) for symbol, i in (line.rsplit(" ", 1) for line in symbols)}
        self._recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
            tokens=str(folder / "tokens.txt"), **names, num_threads=torch.get_num_threads(), sample_rate=SAMPLE_RATE,
            model_type="nemo_transducer",
        )  # fmt: skip
        self.encoder = Stopwatch()

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe; the lookahead is that of the files."""
        del lookahead
        stream, audio = self._recognizer.create_stream(), np.concatenate([LEAD, samples, TAIL])
        size = PACKET if task == "live" else len(audio)
        for start in range(0, len(audio), size):
            stream.accept_waveform(SAMPLE_RATE, audio[start : start + size])
            while self._recognizer.is_ready(stream):
                self._recognizer.decode_stream(stream)
        return [self._ids[token.replace("▁", " ")] for token in self._recognizer.tokens(stream)]

    def latency(self) -> int:
        """Of the files, in ms: they say it to sherpa-onnx alone, which waits for that much audio."""
        stream, frames = self._recognizer.create_stream(), 0
        while not self._recognizer.is_ready(stream):
            stream.accept_waveform(SAMPLE_RATE, LEAD[:HOP])
            frames += 1
        return (frames - AGAIN) // SUBSAMPLING * SUBSAMPLING * HOP * 1000 // SAMPLE_RATE


def kinds(folder: Path) -> list[str]:
    """Which of `KINDS` a folder has.

    Raises:
        OptionError: none.
    """
    found = [kind for kind, infix in KINDS.items() if (folder / f"encoder{infix}.onnx").is_file()]
    if not found or not (folder / "tokens.txt").is_file():
        raise OptionError(
            f"{folder} has no encoder.onnx or encoder.int8.onnx with tokens.txt, as sherpa-onnx reads them"
        )
    return found


@torch.inference_mode()
def run(folders: Sequence[Path], model: str, rounds: int = 3) -> bool:
    """Measure and print.

    Args:
        folders: exported files, of one chunk size each.
        model: the one that was exported.
        rounds: timed, after one to warm up.

    Returns:
        True: tokens may differ.

    Raises:
        OptionError: a folder has no such files.
    """
    found, headed = {folder: kinds(folder) for folder in folders}, False
    for kind in [kind for kind in KINDS if any(kind in of for of in found.values())]:
        runner = load(model, "cpu", kind).runner
        if not headed:
            print_headings("sherpa-onnx", runner.model.config.n_layers, rounds)
            headed = True
        for folder in [folder for folder in folders if kind in found[folder]]:
            theirs = SherpaOnnx(folder, kind)
            tasks = [("file", theirs.latency(), 18), ("live", theirs.latency(), 9)]
            compare((theirs, Ours(runner)), kind, rounds, tasks=tasks)
    print(LEGEND)
    return True
