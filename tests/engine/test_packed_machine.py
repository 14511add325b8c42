"""Where int8 is chosen, and in which code it runs."""

import importlib.metadata
import logging
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.engine import building
from nemotron_asr.engine.devices import choose_dtype
from nemotron_asr.engine.packed import machine
from nemotron_asr.engine.runner import Runner
from tests.conftest import tiny_config


@pytest.mark.parametrize(
    ("processor", "width", "dtype"),
    [("x86_64", 1024, torch.int8), ("AMD64", 1024, torch.int8), ("x86_64", 176, torch.float32),
     ("aarch64", 1024, torch.float32), ("arm64", 1024, torch.float32)],
)  # fmt: skip
def test_int8_is_chosen_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, processor: str, width: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: processor)
    assert choose_dtype("auto", torch.device("cpu"), tiny_config(d_model=width)) == dtype
    assert choose_dtype("int8", torch.device("cpu"), tiny_config()) == torch.int8


@pytest.fixture
def asked_anew() -> Iterator[None]:
    machine.has_vectors.cache_clear()
    yield
    machine.has_vectors.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_an_old_numba_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numba": "0.62.1"}
    monkeypatch.setattr(machine, "_has", lambda *_: True)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    assert not machine.has_vectors()
    versions["numba"] = "0.63.0rc1"
    machine.has_vectors.cache_clear()
    assert machine.has_vectors()


def test_where_numba_cannot_be_used_torch_is(
    random_model_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "nemotron_asr.engine.packed.runner", None)
    monkeypatch.setattr(building, "supported", lambda _: True)
    with caplog.at_level(logging.WARNING):
        runner = building.make_runner(
            *building.build_model(load_checkpoint(str(random_model_folder)), torch.device("cpu"), torch.int8)
        )
    assert type(runner) is Runner
    assert "numba cannot be used" in caplog.text
