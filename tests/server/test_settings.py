"""Settings: where they come from, and which goes before which."""

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from nemotron_asr.cli import commands
from nemotron_asr.errors import OptionError
from nemotron_asr.server.settings import Settings


def printed(*arguments: str, **environment: str) -> dict[str, Any]:
    outcome = CliRunner().invoke(commands, ["serve", "--print-config", *arguments], env=environment)
    assert outcome.exception is None, outcome.output
    return tomllib.loads(outcome.output)


def test_what_is_printed_says_the_same(tmp_path: Path) -> None:
    defaults = printed()
    assert Settings.of(defaults) == Settings()
    file = tmp_path / "server.toml"
    file.write_text(Settings(port=1, cors_origin=("https://a.example",), log_transcripts=True).to_toml())
    assert Settings.of(printed("--config", str(file))).cors_origin == ("https://a.example",)


def test_flags_go_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = 1\nhost = "a"\nmodel = "nemotron-en"\nidle_seconds = 5\n')
    environment = {"NEMOTRON_ASR_PORT": "2", "NEMOTRON_ASR_HOST": "b", "NEMOTRON_ASR_CONFIG": str(file)}
    settings = printed("--port", "3", **environment)
    assert (settings["port"], settings["host"], settings["idle_seconds"]) == (3, "b", 5)
    assert settings["model"] == ["nemotron-en"]
    assert printed("--model", "a=tiny", "--model", "b=tiny", **environment)["model"] == ["a=tiny", "b=tiny"]


def test_a_variable_of_the_environment_is_named() -> None:
    """Kubernetes sets some that are meant for others."""
    outcome = CliRunner().invoke(commands, ["serve"], env={"NEMOTRON_ASR_PORT": "tcp://10.0.0.1:80"})
    assert "Invalid value for NEMOTRON_ASR_PORT: 'tcp://10.0.0.1:80'" in outcome.output
    assert "Invalid value for '--port'" in CliRunner().invoke(commands, ["serve", "--port", "many"]).output


def test_a_file_that_is_not_there_is_named_once() -> None:
    outcome = CliRunner().invoke(commands, ["serve", "--config", "nowhere.toml"])
    assert outcome.output.splitlines()[-1] == "Error: --config nowhere.toml: No such file or directory"


@pytest.mark.parametrize("text", ["colour = 1", "port = ", "port = 'many'"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.toml").write_text(text)
    outcome = CliRunner().invoke(commands, ["serve", "--config", str(tmp_path / "server.toml")])
    assert isinstance(outcome.exception, SystemExit | click.ClickException)
    assert outcome.exit_code == 2


@pytest.mark.parametrize(
    "origin",
    ["foo", "foo.example:80", "https://", "https://a.example/", "https://a:b", "https://A.example", "*.example"],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(OptionError, match=r"cors_origin is .* not \* or scheme://host"):
        Settings(cors_origin=("https://a.example", origin))


def test_origins_that_browsers_send() -> None:
    origins = ("*", "https://a.example", "http://localhost:3000", "http://[::1]:80", "chrome-extension://abcdef")
    assert Settings(cors_origin=origins).cors_origin == origins


@pytest.mark.parametrize("wrong", [{"idle_seconds": 0}, {"port": -1}, {"grpc_port": 65536}, {"tls_key": "key.pem"}])
def test_values_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Settings.of(wrong)
