"""What words, times, confidence and events cost beside the steps that find their tokens, in a live stream.

    python -m benchmarks.words [AUDIO...]

Of the bundled recordings, unless others are named.
"""

import sys
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from unittest.mock import patch

import numpy as np

import nemotron_asr
from nemotron_asr import audio
from nemotron_asr.audio import Samples
from nemotron_asr.config import LATENCIES, SAMPLE_RATE
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.transcript import TranscriptBuilder

Pushed = tuple[Any, ...]
"""What is given to a builder with one step."""


def hear(asr: Recognizer, speech: Samples, latency: int) -> None:
    """Feed a stream chunk by chunk, each as soon as the last is done."""
    with asr.stream(latency_ms=latency) as stream:
        for packet in np.split(speech, range(0, len(speech), SAMPLE_RATE * latency // 1000)):
            stream.feed(packet)
        stream.finish()


def write_down(asr: Recognizer, steps: list[Pushed]) -> None:
    """Make the words and events of a stream's tokens again."""
    builder = TranscriptBuilder(asr.tokenizer)
    for step in steps:
        list(builder.push(*step))


def pushed(asr: Recognizer, speech: Samples, latency: int) -> list[Pushed]:
    """What the steps of a stream give to its builder."""
    steps: list[Pushed] = []
    push = TranscriptBuilder.push

    def watched(builder: TranscriptBuilder, *given: Any) -> Any:
        steps.append(given)
        return push(builder, *given)

    with patch.object(TranscriptBuilder, "push", watched):
        hear(asr, speech, latency)
    return steps


def seconds(work: Callable[..., None], *given: Any) -> float:
    """CPU time of the quickest of five times."""
    times = []
    for _ in range(5):
        start = time.process_time()
        work(*given)
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print a line for each latency."""
    asr = nemotron_asr.load()
    bundled = sorted(str(file) for file in (files("nemotron_asr") / "samples").iterdir() if file.name.endswith(".opus"))
    speech = np.concatenate([audio.load(name) for name in sys.argv[1:] or bundled])
    length = len(speech) / SAMPLE_RATE
    print("latency   words and events   all that a stream costs, per second of speech")
    for latency in LATENCIES:
        words = seconds(write_down, asr, pushed(asr, speech, latency)) / length
        whole = seconds(hear, asr, speech, latency) / length
        print(f"{latency:4} ms  {1000 * words:13.2f} ms   {1000 * whole:8.1f} ms  ({words / whole:.1%})")


if __name__ == "__main__":
    main()
