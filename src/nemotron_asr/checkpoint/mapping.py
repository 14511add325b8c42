"""Files mapped into memory: tensors are pages of a file, read when they are used, and can be given back."""

import mmap
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Size, Tensor

_MAPPINGS: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()  # address -> a mapping that some tensor lies in


class MappedFile:
    """A file of which tensors are made; the mapping lives as long as any of them."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        _MAPPINGS[torch.frombuffer(self._mapping, dtype=torch.uint8).data_ptr()] = self._mapping

    def bytes(self, start: int, stop: int) -> bytes:
        """A copy of a part of the file."""
        return self._mapping[start:stop]

    def tensor(self, start: int, dtype: torch.dtype, shape: Size) -> Tensor:
        """A tensor of `shape` whose first byte is the file's byte `start`."""
        if not shape.numel():
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._mapping, dtype=dtype, count=shape.numel(), offset=start).view(shape)


def release(tensor: Tensor) -> None:
    """Give the memory of a contiguous tensor back, if it is a file's: whoever asks for it reads the file again.

    What was written into it is lost. Where the system cannot do that (Windows), nothing happens.
    """
    for mapping, first in _around(tensor):
        start = first - first % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_DONTNEED, start, first + tensor.nbytes - start)


def release_file(tensor: Tensor) -> None:
    """Like `release`, for all of the file that a tensor lies in: the system reads more of it than is asked for."""
    for mapping, _ in _around(tensor):
        mapping.madvise(mmap.MADV_DONTNEED)


def _around(tensor: Tensor) -> list[tuple[mmap.mmap, int]]:
    """The mapping that a tensor lies in, if there is one that can be released, and its place there."""
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_DONTNEED"):
        return []
    places = [(mapping, tensor.data_ptr() - address) for address, mapping in _MAPPINGS.items()]
    return [(mapping, first) for mapping, first in places if 0 <= first < len(mapping)]
