"""Where compiled code is kept, and what happens where it cannot be."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron_asr.engine.packed import machine

pytestmark = pytest.mark.skipif(not machine.has_vectors(), reason="needs AVX-512 VNNI and numba")


def double(x: int) -> int:
    return 2 * x


def nothing(_: int) -> None:
    pass


def test_compiled_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import config

    from nemotron_asr.engine.packed.compiling import jit

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "new"))
    assert jit(double)(21) == 42
    assert any(tmp_path.rglob("*.nbc"))


def test_where_nothing_can_be_written_it_is_compiled_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from numba import config

    from nemotron_asr.engine.packed.compiling import address_of, jit

    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(file / "no folder"))
    with caplog.at_level(logging.WARNING):
        assert jit(double)(21) == 42
        assert address_of(nothing)
    (record,) = caplog.records
    assert "NUMBA_CACHE_DIR" in record.getMessage()


def test_it_is_said_once_that_it_takes_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from numba import config

    from nemotron_asr.engine.packed.compiling import jit

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert jit(double)(21) == jit(double)(21) == 42
    assert [record.getMessage() for record in caplog.records] == ["compiling for this processor, once: a minute or two"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from numba import config

    from nemotron_asr.engine.packed.compiling import jit

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with caplog.at_level(logging.WARNING):
        assert jit(double)(21) == 42
    assert "No space left on device" in caplog.text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
