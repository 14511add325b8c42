"""Tensors that are pages of a file."""

import gc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nemotron_asr.checkpoint.files import read_safetensors
from nemotron_asr.checkpoint.mapping import _MAPPINGS, MappedFile, release


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """Of several types, of which some are neither a page long nor begin with one."""
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(3, 1000, generator=generator),
        "b": torch.randn(7, generator=generator).to(torch.bfloat16),
        "c": torch.randn(50_000, generator=generator).half(),
        "empty": torch.empty(0, 4),
        "scalar": torch.tensor(3.5, dtype=torch.float64),
        "whole": torch.arange(5),
    }


@pytest.fixture
def mapped(tensors: dict[str, torch.Tensor], tmp_path: Path) -> dict[str, torch.Tensor]:
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return read_safetensors(tmp_path)


def test_every_type_and_shape(tensors: dict[str, torch.Tensor], mapped: dict[str, torch.Tensor]) -> None:
    assert mapped.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert mapped[name].dtype == tensor.dtype
        assert mapped[name].shape == tensor.shape
        assert torch.equal(mapped[name], tensor)


def test_what_was_given_back_is_read_again(tensors: dict[str, torch.Tensor], mapped: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        release(mapped[name])
        release(mapped[name].flatten()[1:])
        assert torch.equal(mapped[name], tensor)


def test_memory_that_is_no_files_stays(mapped: dict[str, torch.Tensor]) -> None:
    tensor = torch.ones(2**20)
    release(tensor)
    release(mapped["a"].clone())
    release(torch.empty(3, device="meta"))
    assert tensor.sum() == 2**20


def test_the_mapping_lives_as_long_as_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    before = set(_MAPPINGS)  # of models in other tests, which may end meanwhile
    tensor = MappedFile(tmp_path / "file").tensor(8, torch.float32, torch.Size([100]))
    gc.collect()
    (ours,) = set(_MAPPINGS) - before
    assert tensor.sum() == 0
    del tensor
    gc.collect()
    assert ours not in _MAPPINGS


def test_nothing_lies_beyond_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="buffer"):
        MappedFile(tmp_path / "file").tensor(8, torch.float32, torch.Size([24]))
