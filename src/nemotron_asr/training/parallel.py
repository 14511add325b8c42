"""Several processes that train one model, each on batches of its own; `torchrun` starts them."""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

VALIDATION = timedelta(hours=6)
"""How long the others wait for the leader, who alone validates. A process that is gone is noticed at once."""


def processes() -> int:
    """How many there are: as many as `torchrun` started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Replicas:
    """This process among its equals; alone, it does nothing."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> "Replicas":
        """Meet the others, if `torchrun` started any."""
        if processes() == 1:
            return cls()
        if not dist.is_initialized():
            if device.startswith("cuda"):
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            backend = "nccl" if device.startswith("cuda") else "gloo"
            dist.init_process_group(backend, timeout=VALIDATION)
            atexit.register(dist.destroy_process_group)  # its threads would otherwise abort a process that ends
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether it is this one that writes files and reports."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the leader do something, e.g. fill a cache, before the others do it."""
        if self.size > 1 and not self.leads:
            dist.barrier()
        yield
        if self.size > 1 and self.leads:
            dist.barrier()

    def gather(self, value: int) -> list[int]:
        """The values of all processes, by rank."""
        said = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(said, value)
        return said

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all gradients, in one message."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        message = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(message)
        for gradient, mean in zip(
            gradients, message.div_(self.size).split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))


ALONE = Replicas()
"""The only process."""
