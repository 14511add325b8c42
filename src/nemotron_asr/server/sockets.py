"""Where adapters listen: sockets, and what encrypts them."""

import errno
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nemotron_asr.errors import OptionError
from nemotron_asr.server.settings import Settings

_TAKEN = {errno.EADDRINUSE, errno.EACCES}


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens.

    Args:
        host: an address of this machine; "::" is all of them, IPv4's too.
        port: 0 is a free one.
        setting: the port's flag.

    Raises:
        OptionError: the address is not this machine's, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # behind which Python repeats the address
        flag = setting if error.errno in _TAKEN else "--host"
        raise OptionError(f"cannot listen at {host}, port {port}: {reason}; choose another with {flag}") from None


@contextmanager
def bound_file(path: str) -> Iterator[socket.socket]:
    """A socket in the file system, as long as the context lasts; one that a server left behind makes room.

    Raises:
        OptionError: there can be none.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OptionError(f"cannot listen at {path}: this system has no Unix sockets")
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
    files = [path for path in (settings.tls_certificate, settings.tls_key, settings.tls_client_ca) if path]
    if not files:
        return None
    _check_readable(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # SSLError is one
        raise OptionError(f"the TLS files {', '.join(files)} cannot be used: {error}") from None
    return context


def _check_readable(files: Iterable[str]) -> None:
    """Where one is not, OpenSSL does not say which."""
    for path in files:
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise OptionError(f"the TLS file {path} cannot be read: {error.strerror}") from None
