"""`nemotron-asr serve`: one server that many clients speak to already."""

import logging
import tomllib
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nemotron_asr.cli.running import debug, note
from nemotron_asr.errors import needs_extra
from nemotron_asr.server.settings import Settings

if TYPE_CHECKING:
    from nemotron_asr.server.service import Service

logger = logging.getLogger(__name__)

_MEANT = {int: "a whole number", str: "a string", bool: "true or false", tuple: "a list of strings"}


def _read_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Make a file's settings the defaults, which the environment and flags go before."""
    if path is None:
        return
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"--config {path}: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"--config {path}: {error}") from None
    known = [setting.name for setting in fields(Settings)]
    unknown = settings.keys() - set(known)
    if unknown:
        raise click.UsageError(f"--config {path}: {min(unknown)!r} is unknown; choose {', '.join(known)}")
    defaults = {setting.name: setting.default for setting in fields(Settings)}
    context.default_map = {name: _value(name, value, defaults[name], path) for name, value in settings.items()}


def _value(name: str, value: Any, default: Any, path: Path) -> Any:
    """A file's value, of the type of the default; one of several may stand alone."""
    if isinstance(default, tuple) and isinstance(value, str):
        return [value]
    fits = type(value) is type(default)
    if isinstance(default, tuple):
        fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
    if not fits:
        raise click.UsageError(f"--config {path}: {name} is {value!r}, not {_MEANT[type(default)]}")
    return value


class _Setting(click.Option):
    """An option whose errors name the variable of the environment, if the value came from there."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """What to call it."""
        if ctx and ctx.get_parameter_source(self.name or "") is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        return super().get_error_hint(ctx)


def _option(setting: "Field[Any]") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option of one setting."""
    name, default, several = setting.name, setting.default, isinstance(setting.default, tuple)
    flags = [f"--{name.replace('_', '-')}"]
    if isinstance(default, bool):
        flags = [f"{flags[0]}/--no-{flags[0][2:]}"]
    return click.option(
        *flags, name, cls=_Setting, default=default, multiple=several, show_default=bool(default), show_envvar=False,
        type=str if several else type(default), envvar=f"NEMOTRON_ASR_{name.upper()}", help=setting.metadata["meaning"],
    )  # fmt: skip


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    for setting in reversed(fields(Settings)):
        command = _option(setting)(command)
    return command


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="NEMOTRON_ASR_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file of settings; the environment goes before it, and flags before that.",
)
@click.option("--print-config", is_flag=True, help="Print all settings as a TOML file, and end.")
@_settings
@debug
def serve(print_config: bool, **values: Any) -> None:
    """Serve HTTP, WebSocket and other protocols of speech to text until SIGTERM, then let streams finish.

    Every option can be set in the environment, as NEMOTRON_ASR_PORT for --port, or in a TOML file, as port.
    """
    settings = Settings.of(values)
    if print_config:
        click.echo(settings.to_toml())
        return
    try:
        from nemotron_asr.server.logs import start_logging
        from nemotron_asr.server.serving import run
    except ImportError as error:
        raise needs_extra("serve", "server", error.name) from None
    start_logging(settings.log_format, settings.log_level)
    run(settings, _announce)


def _announce(service: "Service") -> None:
    """Say where it listens, and how much room there is; whoever reads the log as JSON finds nothing else in it."""
    for protocol, port in service.ports.items():
        url = _url(service.settings, protocol, port)
        _say(service.settings, f"{protocol} at {url}", "listening", protocol=protocol, url=url)
    for name, engine in service.models.engines.items():
        capacity = engine.statistics.capacity
        room = ", ".join(f"{most} at {latency} ms" for latency, most in capacity.items())
        _say(
            service.settings, f"ready: {name} has room for live streams: {room}", "ready", model=name, capacity=capacity
        )


def _say(settings: Settings, line: str, message: str, **fields: Any) -> None:
    """In a line for people, or in one of the log for machines."""
    if settings.log_format == "json":
        logger.info(message, extra={"fields": fields})
    else:
        note(line)


def _url(settings: Settings, protocol: str, port: int) -> str:
    """What clients of a protocol are told; those of gRPC take no scheme."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    schemes = {"http": "https://" if settings.tls_certificate else "http://", "wyoming": "tcp://"}
    return f"{schemes.get(protocol, '')}{host}:{port}"
