"""The one value that every reader returns and every writer takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nemotron_asr.config import FRAME_MS, LATENCIES, ModelConfig
from nemotron_asr.errors import CheckpointError, ConfigError
from nemotron_asr.features import N_FFT, WINDOW
from nemotron_asr.languages import PROMPTS, canonical
from nemotron_asr.tokenizer import Tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """A model at rest.

    Attributes:
        config: its architecture.
        tokenizer: its pieces; ids are rows of its embedding.
        weights: our parameter names -> tensors in the file's dtype; memory-mapped ones are not to be written into.
        front_end: "window" (400,) and "filters" (n_mels, 257), or nothing when the file carries none.
        about: what its makers say about it; our own format keeps it.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    front_end: dict[str, Tensor] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tokenizer.vocab_size != self.config.vocab_size:
            raise CheckpointError(
                f"the tokenizer has {self.tokenizer.vocab_size} pieces, but the model emits {self.config.vocab_size}"
            )
        beyond = {name: row for name, row in self.config.prompts.items() if row >= self.config.n_prompts}
        if beyond:
            raise ConfigError(f"prompts {_first(beyond)} lie outside the {self.config.n_prompts} rows of the model")
        shapes = {"window": (WINDOW,), "filters": (self.config.n_mels, N_FFT // 2 + 1)}
        for name, tensor in self.front_end.items():
            if tuple(tensor.shape) != shapes.get(name):
                raise CheckpointError(f"front end {name} has shape {list(tensor.shape)}; wanted {shapes.get(name)}")


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """What `nemotron-asr info` shows, as plain values: sizes, languages, latencies."""
    config, weights = checkpoint.config, checkpoint.weights.values()
    advertised = {ms: lookahead in config.lookaheads for ms, lookahead in LATENCIES.items()}
    return {
        "parameters": sum(tensor.numel() for tensor in weights),
        "tensors": len(weights),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in weights),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights}),
        "layers": config.n_layers,
        "width": config.d_model,
        "mels": config.n_mels,
        "pieces": config.vocab_size,
        "left_context_ms": config.left_context * FRAME_MS,
        "latencies_ms": {"trained": [ms for ms, yes in advertised.items() if yes], "offered": list(LATENCIES)},
        "languages": _languages(config),
        "language_tags": sorted(checkpoint.tokenizer.language_tags.values()),
        **({"about": checkpoint.about} if checkpoint.about else {}),
    }


def _languages(config: ModelConfig) -> list[str]:
    """The locales that the prompt knows, aliases folded together."""
    table = config.prompts or PROMPTS
    return list(dict.fromkeys(canonical(name, table) for name in table)) if config.n_prompts else []


def _first(rows: Mapping[str, int], shown: int = 4) -> str:
    listed = ", ".join(f"{name!r}: {row}" for name, row in list(rows.items())[:shown])
    return f"{listed} and {len(rows) - shown} more" if len(rows) > shown else listed


def dtype_of(weights: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype that most elements have."""
    counts: dict[torch.dtype, int] = {}
    for tensor in weights.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel()
    return max(counts, key=counts.__getitem__)
