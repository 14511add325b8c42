"""Who may come in."""

import os
import time
from pathlib import Path

import grpc
import httpx2 as httpx
import pytest

from nemotron_asr.errors import OptionError
from nemotron_asr.server import keys as keys_module
from nemotron_asr.server.keys import Key, Keys
from nemotron_asr.server.problems import Kind, Problem
from tests.server.conftest import running
from tests.server.riva_client import config, service


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("# ours\nalpha name=office streams=1 seconds_per_day=10\n\nbeta\n")
    return path


def test_without_a_file_everybody_may_come_in() -> None:
    assert Keys().check(None).name == "everybody"


def test_keys_have_names_and_limits(file: Path) -> None:
    keys = Keys(str(file))
    assert keys.check("alpha") == Key("office", 1, 10.0)
    assert keys.check("beta").name == "key 4"
    for token in (None, "", "gamma", "alpha name=office"):
        with pytest.raises(Problem) as refused:
            keys.check(token)
        assert refused.value.kind is Kind.UNAUTHENTICATED


def test_streams_and_seconds_are_limited(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Keys(str(file)).check("alpha")
    key.enter()
    with pytest.raises(Problem, match="may have 1"):
        key.enter()
    key.leave()
    key.enter()
    key.spend(9)
    with pytest.raises(Problem, match="spent its 10 s"):
        key.spend(2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + keys_module.DAY)
    key.spend(9)


def test_recordings_of_a_key_are_as_many_as_its_streams(file: Path) -> None:
    """Who may have one stream takes one recording in at a time, and not all the room there is."""
    keys = Keys(str(file))
    key = keys.check("alpha")
    with key.uploading():
        with pytest.raises(Problem, match="1 recordings are being taken in, and 1 may be"), key.uploading():
            pass
        with keys.check("beta").uploading(), keys.check("beta").uploading():
            pass
    with key.uploading():
        key.enter()  # the recording that was taken in is heard


def test_a_key_that_is_taken_away_opens_nothing_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has shown it before, and may still be connected."""
    monkeypatch.setattr(keys_module, "LOOK_AGAIN", 0.0)
    keys = Keys(str(file))
    alpha, beta = keys.check("alpha"), keys.check("beta")
    keys.check_again(beta)
    file.write_text("alpha name=lab\n")
    keys.check_again(alpha)
    with pytest.raises(Problem, match="no longer in force"):
        keys.check_again(beta)


def test_the_file_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "LOOK_AGAIN", 0.0)
    keys = Keys(str(file))
    spent = keys.check("alpha")
    spent.spend(4)
    file.write_text("alpha name=lab\n")
    os.utime(file, ns=(1, 1))
    assert keys.check("alpha") is spent
    assert (spent.name, spent.streams) == ("lab", None)
    with pytest.raises(Problem, match="unknown"):
        keys.check("beta")
    file.write_text("alpha name=lab\nbeta gamma\n")
    assert keys.check("alpha") is spent  # a file that is no good changes nothing
    file.unlink()
    assert keys.check("alpha") is spent  # it is just being replaced


def test_minted_secrets_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(str(file))
    secret, ends = keys.mint(keys.check("beta"), 60)
    assert keys.check(secret).name == "key 4"
    monkeypatch.setattr(time, "time", lambda: ends + 1)
    with pytest.raises(Problem, match="unknown"):
        keys.check(secret)


def test_secrets_end_with_the_key_that_they_stand_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "LOOK_AGAIN", 0.0)
    keys = Keys(str(file))
    kept, lost = (keys.mint(keys.check(token), 60)[0] for token in ("alpha", "beta"))
    file.write_text("alpha name=lab\n")
    assert keys.check(kept).name == "lab"
    with pytest.raises(Problem, match="unknown"):
        keys.check(lost)


@pytest.mark.parametrize("line", ["alpha colour=red", "alpha streams=many"])
def test_a_broken_file_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(line)
    with pytest.raises(OptionError, match="line 1"):
        Keys(str(tmp_path / "keys"))
    with pytest.raises(OptionError) as missing:
        Keys(str(tmp_path / "none"))
    assert str(missing.value) == f"the API key file {tmp_path / 'none'} cannot be read: No such file or directory"
    (tmp_path / "keys").write_bytes(b"\xff")
    with pytest.raises(OptionError, match="not text in UTF-8"):
        Keys(str(tmp_path / "keys"))


@pytest.mark.parametrize(
    "line", ["a K7xyzSECRET=abc streams=2", "a streams=K7xyzSECRET", "a seconds_per_day=K7xyzSECRET", "a K7xyzSECRET"]
)
def test_a_broken_line_is_not_repeated(tmp_path: Path, line: str) -> None:
    """Any of its words may be a secret."""
    (tmp_path / "keys").write_text(line)
    with pytest.raises(OptionError) as refused:
        Keys(str(tmp_path / "keys"))
    assert "SECRET" not in str(refused.value)


def test_a_running_server_reads_them_again(
    file: Path, random_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_AGAIN", 0.0)
    with running(model=[str(random_model_folder)], api_key_file=str(file)) as server:

        def come_in(key: str) -> tuple[int, bool]:
            """Over HTTP and gRPC."""
            status = httpx.get(f"{server.http}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code
            with service(server, metadata_args=[["authorization", f"Bearer {key}"]]) as asr:
                try:
                    asr.offline_recognize(bytes(3200), config())
                except grpc.RpcError as error:
                    return status, error.code() is not grpc.StatusCode.UNAUTHENTICATED
            return status, True

        assert [come_in(key) for key in ("beta", "delta")] == [(200, True), (401, False)]
        file.write_text("delta name=new\n")
        assert [come_in(key) for key in ("beta", "delta")] == [(401, False), (200, True)]
