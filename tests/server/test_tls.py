"""TLS, and certificates of clients, over HTTP, WebSocket and Wyoming's port; gRPC's are in test_riva_calls.py."""

import asyncio
import json
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
import trustme
import websockets
from numpy.typing import NDArray

from nemotron_asr.errors import OptionError
from tests.server.conftest import Running, running
from tests.server.contract import RATE

REFUSED = (OSError, EOFError, httpx.TransportError, websockets.InvalidMessage)
"""How clients of TLS 1.3 see it: with the first answer, for the handshake itself succeeds without their certificate."""


@dataclass(frozen=True)
class Mutual:
    """A server that wants certificates, and who may come in."""

    server: Running
    ours: ssl.SSLContext
    nameless: ssl.SSLContext
    strangers: ssl.SSLContext


def trusting(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """What a client has: an authority that it trusts, and a certificate of its own."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def write(folder: Path, authority: trustme.CA) -> dict[str, str]:
    """A server's files; the key lies apart from the chain."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "clients.pem"))
    names = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "clients.pem"}
    return {setting: str(folder / name) for setting, name in names.items()}


@pytest.fixture(scope="module")
def mutual(random_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mutual]:
    authority = trustme.CA()
    files = write(tmp_path_factory.mktemp("tls"), authority)
    with running(model=[str(random_model_folder)], **files) as server:
        yield Mutual(
            server,
            trusting(authority, authority.issue_cert("client@example.org")),
            trusting(authority),
            trusting(authority, trustme.CA().issue_cert("client@example.org")),
        )


def get(server: Running, tls: ssl.SSLContext) -> int:
    return httpx.get(f"{server.http}/health/ready", verify=tls).status_code


def hear(server: Running, tls: ssl.SSLContext, audio: bytes = b"") -> list[str]:
    """The finals of a stream over WebSocket."""

    async def talk() -> list[str]:
        url = f"{server.websocket}/v1/stream?encoding=s16le&interim_results=no"
        async with websockets.connect(url, ssl=tls) as stream:
            await stream.send(audio)
            await stream.send('{"type": "close"}')
            events = [json.loads(message) async for message in stream]
        return [event["text"] for event in events if event["type"] == "final"]

    return asyncio.run(talk())


def ping(server: Running, tls: ssl.SSLContext) -> bytes:
    """What Wyoming's port says."""

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["wyoming"], ssl=tls)
        writer.write(b'{"type": "ping"}\n')
        try:
            return await reader.readuntil(b"\n")
        finally:
            writer.transport.abort()

    return asyncio.run(talk())


def test_who_shows_a_certificate_comes_in(
    mutual: Mutual, speech: NDArray[np.int16], caplog: pytest.LogCaptureFixture
) -> None:
    heard = mutual.server.recognizer.transcribe((speech, RATE), latency_ms=320)
    assert get(mutual.server, mutual.ours) == 200
    assert hear(mutual.server, mutual.ours, speech.tobytes()) == [segment.text for segment in heard.segments]
    assert json.loads(ping(mutual.server, mutual.ours))["type"] == "pong"
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("speak", [get, hear, ping])
def test_nobody_else_does(mutual: Mutual, speak: Callable[[Running, ssl.SSLContext], object]) -> None:
    for tls in (mutual.nameless, mutual.strangers):
        with pytest.raises(REFUSED):
            speak(mutual.server, tls)
    assert get(mutual.server, mutual.ours) == 200
    assert not mutual.server.service.conversations


def test_who_does_not_encrypt_is_not_answered(mutual: Mutual) -> None:
    for port in mutual.server.ports.values():
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            plain.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"live" not in everything(plain)


def everything(plain: socket.socket) -> bytes:
    said = b""
    try:
        while data := plain.recv(4096):
            said += data
    except ConnectionError:
        pass
    return said


def test_old_versions_are_not_spoken(mutual: Mutual) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection(("127.0.0.1", mutual.server.ports["http"])) as plain,
        old.wrap_socket(plain),
    ):
        pass


def test_who_does_not_trust_the_server_goes_away(mutual: Mutual) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(mutual.server, trusting(trustme.CA()))


@pytest.mark.parametrize("broken", ["tls_certificate", "tls_key", "tls_client_ca"])
def test_files_that_are_no_good_are_named(tmp_path: Path, broken: str) -> None:
    files = write(tmp_path, trustme.CA())
    Path(files[broken]).write_text("nothing")
    refused: AbstractContextManager[Running] = running(**files)
    with pytest.raises(OptionError, match=f"TLS files .*{re.escape(files[broken])}.* cannot be used"), refused:
        pass


@pytest.mark.parametrize("missing", ["tls_certificate", "tls_key", "tls_client_ca"])
def test_files_that_are_not_there_are_named(tmp_path: Path, missing: str) -> None:
    files = write(tmp_path, trustme.CA())
    Path(files[missing]).unlink()
    refused: AbstractContextManager[Running] = running(**files)
    reason = f"the TLS file {re.escape(files[missing])} cannot be read: No such file or directory$"
    with pytest.raises(OptionError, match=reason), refused:
        pass
