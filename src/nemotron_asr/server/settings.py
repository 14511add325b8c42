"""How a server is set up: every setting once, with its default and its meaning. The command line is made from it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nemotron_asr.errors import OptionError

_LEAST = {"port": 0, "grpc_port": -1, "wyoming_port": -1, "max_streams": 0}
"""The least value of a number, if it is not 1."""

_MOST = dict.fromkeys(("port", "grpc_port", "wyoming_port"), 65535)
"""The highest, if there is one."""

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^/?#@:\sA-Z\[\]]+)(:[0-9]+)?")
"""What a browser sends as `Origin`, or any."""


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Settings:
    """All settings of a server.

    `max_streams` is `--max-streams` on the command line, `NEMOTRON_ASR_MAX_STREAMS` in the environment, and
    `max_streams` in a TOML file.
    """

    host: str = _setting("127.0.0.1", "Address to listen at; 0.0.0.0 is all of this machine's.")
    port: int = _setting(8000, "Port of HTTP and WebSocket.")
    grpc_port: int = _setting(50051, "Port of Riva's gRPC; -1: none.")
    wyoming_port: int = _setting(10300, "Port of Wyoming; -1: none.")
    wyoming_socket: str = _setting("", "Path of a Unix socket of Wyoming, without TLS; none unless it is given.")
    model: tuple[str, ...] = _setting(
        ("tiny",), "[NAME=]MODEL to load; may be repeated, the first one answers by default."
    )
    device: str = _setting("auto", "Where to compute: auto, cpu, cuda, cuda:N or mps.")
    dtype: str = _setting("auto", "Precision: auto, float32, bfloat16, int8 or float8.")
    max_streams: int = _setting(0, "Live streams per model; 0: as many as the machine is measured to sustain.")
    api_key_file: str = _setting("", "File of API keys, read again when it changes; none: everybody may come in.")
    tls_certificate: str = _setting("", "PEM file of the certificate chain; with it all ports speak TLS.")
    tls_key: str = _setting("", "PEM file of the certificate's key.")
    tls_client_ca: str = _setting("", "PEM file of authorities; clients must show a certificate of theirs.")
    cors_origin: tuple[str, ...] = _setting(
        (), "Origin whose web pages may call this server, as https://a.example; *: all; may be repeated."
    )
    max_connections: int = _setting(
        4000, "Connections of HTTP and WebSocket at once, as many of Wyoming, and calls of gRPC."
    )
    max_message_bytes: int = _setting(1 << 20, "Longest message of a WebSocket or gRPC stream.")
    max_upload_bytes: int = _setting(256 << 20, "Longest body of a request.")
    max_audio_seconds: int = _setting(4 * 3600, "Longest recording, decoded.")
    max_session_seconds: int = _setting(4 * 3600, "Longest live stream.")
    idle_seconds: int = _setting(60, "A live stream without audio, or an upload that stands still, ends after these.")
    max_phrases: int = _setting(10_000, "Phrases that a stream may boost.")
    max_uploads: int = _setting(16, "Recordings taken in at once.")
    max_decoders: int = _setting(4, "Processes that decode recordings at once; others wait.")
    max_live_decoders: int = _setting(32, "Live streams at once of which a process decodes WebM, Ogg, FLAC and others.")
    decoder_megabytes: int = _setting(1024, "Memory of each.")
    drain_seconds: int = _setting(30, "Time that streams have to end after SIGTERM.")
    log_format: str = _setting("text", "text or json.")
    log_level: str = _setting("info", "debug, info, warning or error.")
    log_transcripts: bool = _setting(False, "Log what was said, too.")

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, least = getattr(self, setting.name), _LEAST.get(setting.name, 1)
            if not isinstance(value, int) or isinstance(value, bool):
                continue
            if value < least:
                raise OptionError(f"{setting.name} is {value}; it must be at least {least}")
            if value > (most := _MOST.get(setting.name, value)):
                raise OptionError(f"{setting.name} is {value}; it must be at most {most}")
        for origin in self.cors_origin:
            if not _ORIGIN.fullmatch(origin):
                raise OptionError(
                    f"cors_origin is {origin!r}, not * or scheme://host[:port] in lower case, as browsers say it"
                )
        if (self.tls_key or self.tls_client_ca) and not self.tls_certificate:
            raise OptionError("tls_key and tls_client_ca need a tls_certificate")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Settings":
        """Settings from values by name; lists become tuples.

        Raises:
            OptionError: a value is outside its range.
        """
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain)

    def to_toml(self) -> str:
        """The settings as a file that says the same."""
        lines = []
        for setting in fields(self):
            lines += [f"# {setting.metadata['meaning']}", f"{setting.name} = {_toml(getattr(self, setting.name))}", ""]
        return "\n".join(lines[:-1])


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
