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
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    for address, mapping in _MAPPINGS.items():
        first = tensor.data_ptr() - address
        if 0 <= first < len(mapping):
            start = first - first % mmap.PAGESIZE
            mapping.madvise(mmap.MADV_DONTNEED, start, first + tensor.nbytes - start)
