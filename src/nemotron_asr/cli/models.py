"""`nemotron-asr info` and `nemotron-asr convert`: models at rest."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from nemotron_asr.cli.options import NewPath
from nemotron_asr.cli.running import debug, note
from nemotron_asr.cli.table import print_table


@click.command()
@click.argument("model")
@debug
def info(model: str) -> None:
    """Show what MODEL is: its size, latencies and languages, and what its makers say about it."""
    from nemotron_asr.checkpoint import describe, load_checkpoint

    facts = _facts(describe(load_checkpoint(model)))
    print_table(("", ""), [("model", model), *_adapter(model), *facts])


@click.command()
@click.argument("source")
@click.argument("target", type=NewPath(path_type=Path))
@click.option("--to", "layout", type=click.Choice(["huggingface", "nemo", "native"]), required=True, help="Layout.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16", "int8"]),
    help="Precision of the weights; as they are if not given. int8 is for --to native: a quarter of the size.",
)
@debug
def convert(source: str, target: Path, layout: str, dtype: str | None) -> None:
    """Write the model SOURCE as TARGET: a folder, or a .nemo file for --to nemo."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise click.UsageError(f"{target} exists already; give a new name")
    import torch

    from nemotron_asr.checkpoint import load_checkpoint, save_checkpoint

    save_checkpoint(load_checkpoint(source), target, layout, getattr(torch, dtype) if dtype else None)
    note(f"{source} written to {target}")


def _adapter(model: str) -> Iterator[tuple[str, str]]:
    """What a model that was loaded says of itself, if it is an adapter's folder."""
    from nemotron_asr.checkpoint.adapter import CONFIG, is_adapter
    from nemotron_asr.checkpoint.files import read_json
    from nemotron_asr.checkpoint.sources import place

    if (folder := place(model)) and is_adapter(folder):
        settings = read_json(folder / CONFIG)
        yield "adapter", f"LoRA of rank {settings['r']} for {settings['base_model_name_or_path']}, merged"


def _facts(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    latencies = about["latencies_ms"]
    untrained = [ms for ms in latencies["offered"] if ms not in latencies["trained"]]
    yield "parameters", f"{about['parameters']:,} in {about['tensors']} tensors"
    yield "size", f"{about['bytes'] / 1e6:,.1f} MB, {_plain(about['dtypes'])}"
    yield "encoder", f"{about['layers']} layers of {about['width']}, {about['mels']} mel bins"
    yield "context", f"{about['left_context_ms']} ms of the past"
    yield "vocabulary", f"{about['pieces']:,} pieces"
    yield (
        "latencies",
        f"{_plain(latencies['trained'])} ms"
        + (f"; {_plain(untrained)} ms works, but was not trained" if untrained else ""),
    )
    yield "languages", _plain(about["languages"]) or "no choice: the model takes no language"
    yield "language tags", _plain(about["language_tags"]) or "none"
    for key, value in about.get("about", {}).items():
        yield key.replace("_", " "), _plain(value)


def _plain(value: object) -> str:
    """A value of JSON as people write it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
