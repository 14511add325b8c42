"""Puts a trained model into the package: its matrices in int8, tokenizer, what is known about it.

python -m recipes.tiny.export --data WORK --run WORK/run --output src/nemotron_asr/models/tiny

`--mean-with` gives the mean with the weights that the run began with: runs go to different sides of what is best.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, to_float, to_int8
from nemotron_asr.checkpoint.int8 import scale_of
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.trainer import BEST, LAST, read_checkpoint
from recipes.tiny.train import with_ends

ABOUT = {
    "name": "tiny",
    "licence": "CC-BY-3.0",
    "trained_on": (
        "4.7 h of five languages read by six people, their words and sounds put together anew, and 59 h of twelve "
        "languages spoken by espeak-ng, flite and SVOX Pico"
    ),
    "made_by": "recipes/tiny",
    "limits": (
        "a model to try things with: it understands its six training voices, with four words in ten wrong, and hardly "
        "anybody else; for real work use nemotron-3.5"
    ),
}
FILES = ("config.json", "model.safetensors", "tokenizer.json")


def last(run: Path) -> dict[str, Any]:
    """The averaged weights with which a run ended, as `BEST` has those that did best."""
    state = read_checkpoint(run / LAST)
    inside = {name.removeprefix("model."): value for name, value in state["average"].items() if name[:6] == "model."}
    return {"model": inside, "step": state["step"]}


def mean(weights: dict[str, Tensor], others: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The mean of two models' weights (Wortsman et al. 2022), to which the others contribute their share."""
    return {name: torch.lerp(value.float(), others[name].float(), share) for name, value in weights.items()}


def small(checkpoint: Checkpoint) -> Checkpoint:
    """In a quarter of its memory: matrices in int8, their scales and the prompt in float32, all else in float16."""
    stored = to_int8(checkpoint).weights
    exact = {scale_of(name) for name in stored} | {name for name in stored if name.startswith("prompt.")}
    weights = {
        name: tensor.half() if tensor.dtype == torch.float32 and name not in exact else tensor
        for name, tensor in stored.items()
    }
    return replace(checkpoint, weights=weights)


def main() -> None:
    """Reads the command line and writes the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--last", action="store_true", help="the last weights, not those that did best on dev.jsonl")
    parser.add_argument("--steps-before", type=int, default=0, help="of the runs whose weights this one began with")
    parser.add_argument("--mean-with", metavar="MODEL", help="another model of this shape")
    parser.add_argument("--share", type=float, default=0.3, help="of the other model in the mean")
    options = parser.parse_args()
    trained = last(options.run) if options.last else read_checkpoint(options.run / BEST)
    weights = trained["model"]
    if options.mean_with:
        weights = mean(weights, to_float(load_checkpoint(options.mean_with).weights), options.share)
    tokenizer = Tokenizer.from_sentencepiece((options.data / "tokenizer.model").read_bytes())
    steps = options.steps_before + trained["step"]
    checkpoint = Checkpoint(with_ends(tokenizer), tokenizer, weights, about={**ABOUT, "steps": steps})
    with TemporaryDirectory() as folder:
        save_checkpoint(small(checkpoint), Path(folder) / "tiny")
        options.output.mkdir(parents=True, exist_ok=True)
        for name in FILES:  # who uses the old weights keeps them: they are mapped, and must not change
            shutil.copyfile(Path(folder) / "tiny" / name, options.output / f"{name}.part")
            (options.output / f"{name}.part").replace(options.output / name)
    size = sum((options.output / name).stat().st_size for name in FILES)
    print(f"{options.output}: {size / 1e6:.1f} MB, step {steps}")


if __name__ == "__main__":
    main()
