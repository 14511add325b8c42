"""What is given back to the system is not missed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nemotron_asr.checkpoint import release, release_file
from nemotron_asr.checkpoint.files import read_safetensors
from nemotron_asr.engine.memory import release_libraries, trim
from tests.resident import resident

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is in memory")


def test_libraries_come_back_when_they_are_used() -> None:
    numbers = torch.arange(100_000.0)
    expected = torch.fft.rfft(numbers).abs().sum()
    before = resident("RssFile")
    release_libraries()
    assert resident("RssFile") < 0.7 * before
    assert torch.fft.rfft(numbers).abs().sum() == expected


def test_freed_memory_is_given_back() -> None:
    pieces = [np.ones(1000) for _ in range(10_000)]
    kept, before = pieces[::100], resident("RssAnon")
    del pieces
    trim()
    assert resident("RssAnon") < before - 50_000
    assert all(piece.all() for piece in kept)


def test_a_file_of_weights_is_read_again(tmp_path: Path) -> None:
    stored = {name: torch.full((1_000_000,), value) for value, name in enumerate("abc")}
    save_file(stored, tmp_path / "model.safetensors")
    weights = read_safetensors(tmp_path)
    total = [int(tensor.sum()) for tensor in weights.values()]
    before = resident("RssFile")
    release(weights["a"])
    assert resident("RssFile") < before - 7_000
    release_file(weights["b"])
    assert resident("RssFile") < before - 23_000
    assert [int(tensor.sum()) for tensor in weights.values()] == total


def test_nothing_is_given_back_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise TypeError("argument of type 'NoneType' is not iterable")  # what it says on Windows

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr("nemotron_asr.engine.memory.ctypes.CDLL", missing)
    trim()
