"""What survives a kill: the averaged weights, and files that are written whole or not at all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint.files import reading
from nemotron_asr.drafts import drafted
from nemotron_asr.errors import CheckpointError

Tensors = dict[str, Tensor]


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


class Average:
    """An exponential average of the parameters that are trained: smoother, and better, than the last ones."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.values = {name: parameter.detach().clone() for name, parameter in trained(module).items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after `step` steps; the first ones are worthless and forgotten quickly."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        for name, parameter in trained(self.module).items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the module compute with the average."""
        own = {name: parameter.detach().clone() for name, parameter in trained(self.module).items()}
        try:
            self._copy(self.values)
            yield
        finally:
            self._copy(own)

    @torch.no_grad()
    def _copy(self, values: Tensors) -> None:
        for name, parameter in trained(self.module).items():
            parameter.copy_(values[name])


def write_whole(path: Path, text: str) -> None:
    """Write a text all or nothing; several processes may do it at once."""
    with drafted(path, shared=True) as draft:
        draft.write_text(text, encoding="utf-8")


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """All or nothing: a kill while writing leaves the old file."""
    with drafted(path) as draft:
        torch.save(dict(state), draft)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file that the trainer has written.

    Raises:
        CheckpointError: it is damaged or something else.
    """
    with reading(str(path)):
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a training checkpoint")
    return state


@torch.no_grad()
def take(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], path: Path) -> None:
    """Copy values into tensors of the same names; `theirs` may have more.

    Raises:
        CheckpointError: one is missing or has another shape.
    """
    for name, value in ours.items():
        if name not in theirs or theirs[name].shape != value.shape:
            raise CheckpointError(f"{path} was made by a run of another kind: {name} does not fit; give another folder")
        value.copy_(theirs[name])
