"""What a smaller dtype costs in accuracy: the log-probabilities of a random model of the released one's size.

    python -m benchmarks.accuracy               # 4 of 24 layers
    python -m benchmarks.accuracy --layers 24   # 3 GB of memory

Every dtype hears the same speech and, so that histories do not drift apart, is asked for the first token only: the
log-probabilities of all tokens at every frame, before anything was said. What words this costs is measured on the
embedded model, by `nemotron-asr evaluate --dtype`.
"""

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.random_model import RELEASED, random_checkpoint
from nemotron_asr.benchmark.speech import speech
from nemotron_asr.decoding.greedy import initial_state
from nemotron_asr.engine.devices import DTYPES
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import Stream, Target
from nemotron_asr.recognizer import Recognizer


@torch.inference_mode()
def log_probabilities(runner: Runner, samples: Samples, chunk: int) -> Tensor:
    """(frames, tokens) in float32, chunk by chunk."""
    pool, config = runner.pool(1), runner.model.config
    stream = Stream(pool.acquire(), Target(config.default_prompt, ""), chunk)
    stream.feed(samples)
    transducer, rows = runner.model.transducer, []
    silent = initial_state(transducer, 1).out
    while work := stream.next_work():
        part = Part.of(stream, work, chunk)
        stream.advance(work, chunk)
        fused = runner.fuse([part], runner.encode(pool, [part], runner.features([part], 0, chunk), chunk, chunk))
        rows.append(transducer.joint(transducer.project(fused)[0], silent).float().log_softmax(-1))
    return torch.cat(rows)


def comparison(found: Tensor, exact: Tensor) -> str:
    """Columns of the table."""
    error, same = found - exact, (found.argmax(-1) == exact.argmax(-1)).float().mean()
    return f"{error.square().mean().sqrt():.4f} | {error.abs().max():.3f} | {same:.1%}"


def main() -> None:
    """Reads the command line and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    samples = speech()
    checkpoint = random_checkpoint(samples, replace(RELEASED, n_layers=options.layers))
    print("| dtype | latency | error of log-probabilities, rms | worst | same best token |\n|---|---|---|---|---|")
    for chunk in (1, 14):
        exact = None
        for name in ("float32", "bfloat16", "int8"):
            dtype = DTYPES[name]
            found = log_probabilities(Recognizer(checkpoint, torch.device("cpu"), dtype).runner, samples, chunk)
            exact = found if exact is None else exact
            print(f"| {name} | {80 * chunk} ms | {comparison(found, exact)} |")


if __name__ == "__main__":
    main()
