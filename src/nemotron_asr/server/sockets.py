"""Where adapters listen: sockets, and what encrypts them."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nemotron_asr.errors import OptionError
from nemotron_asr.server.settings import Settings


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
        OptionError: the address is not this machine's, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OptionError(f"cannot listen at {host}, port {port}: {error.strerror}") from None


@contextmanager
def bound_file(path: str) -> Iterator[socket.socket]:
    """A socket in the file system, as long as the context lasts; one that a server left behind makes room.

    Raises:
        OptionError: there can be none.
    """
    made, file = socket.socket(socket.AF_UNIX), Path(path)
    try:
        if file.is_socket():
            file.unlink()
        made.bind(path)
    except OSError as error:
        made.close()
        raise OptionError(f"cannot listen at {path}: {error.strerror or error}") from None
    try:
        yield made
    finally:
        file.unlink(missing_ok=True)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What encrypts, if the settings ask for it.

    Raises:
        OptionError: a file is missing, or not what it should be.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # SSLError is one
        raise OptionError(f"the TLS files of this server cannot be used: {error}") from None
    return context
