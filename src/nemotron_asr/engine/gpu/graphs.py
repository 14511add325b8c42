"""Work that is recorded once and replayed: on a GPU a CUDA graph, which starts hundreds of kernels at once."""

from collections.abc import Callable
from typing import Protocol

import torch

Work = Callable[[], None]


class Recording(Protocol):
    """Work that was recorded, over the memory that it was recorded with."""

    def replay(self) -> None:
        """Do it again."""


class Recorder(Protocol):
    """Records work, which it does meanwhile at least once."""

    def __call__(self, work: Work) -> Recording:
        """Record."""


class Again:
    """Work that is simply done again: what there is without CUDA."""

    def __init__(self, work: Work) -> None:
        self.replay = work
        work()


class CudaRecorder:
    """Records CUDA graphs of one pool on the current device, which share the memory of what is between their ends.

    One that needs most should come first; no two may run at once. With the pool their memory goes, so another pool's
    graphs need a recorder of their own. They are recorded on the stream on which the work was done before: libraries
    keep a workspace for every stream, and a new one would come from the graphs' memory, which could never go then.
    """

    def __init__(self) -> None:
        self._memory = torch.cuda.graph_pool_handle()
        self._aside = torch.cuda.Stream()

    def __call__(self, work: Work) -> Recording:
        """Record: twice for real, so that kernels are compiled and libraries have their workspaces, then as a graph."""
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            work()
            work()
        torch.cuda.current_stream().wait_stream(self._aside)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # nothing can be given back while a graph is recorded
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory, stream=self._aside, capture_error_mode="thread_local"):
            work()
        return graph


def recorder_for(device: torch.device) -> Recorder:
    """What records on a device."""
    return CudaRecorder() if device.type == "cuda" else Again
