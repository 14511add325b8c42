"""Who may come in: API keys from a file that is read again when it changes, and secrets that live for minutes.

A line of the file is a key, then what is said of it: `name=office streams=10 seconds_per_day=36000`. Lines that begin
with # are comments. Only digests are kept, and all are compared, in constant time.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nemotron_asr.errors import OptionError
from nemotron_asr.server.problems import Kind, Problem

logger = logging.getLogger(__name__)

LOOK_AGAIN = 1.0
"""Seconds between two looks at the file's time."""

DAY = 86_400

_Number = TypeVar("_Number", int, float)


@dataclass
class Key:
    """Whoever holds it.

    Attributes:
        name: in logs; not secret.
        streams: that may be open at once; None: any number.
        seconds_per_day: of audio, a day of UTC; None: any number.
        open: streams.
        uploads: recordings that are being taken in.
        revoked: it is no longer in the file.
    """

    name: str
    streams: int | None = None
    seconds_per_day: float | None = None
    open: int = 0
    uploads: int = 0
    revoked: bool = False
    _day: int = 0
    _spent: float = 0.0

    def enter(self) -> None:
        """Open one more stream.

        Raises:
            Problem: the key has as many as it may, or has no seconds left.
        """
        if self.streams is not None and self.open >= self.streams:
            raise Problem(Kind.TOO_MANY, f"this API key has {self.open} streams open, and may have {self.streams}")
        self.spend(0.0)
        self.open += 1

    def leave(self) -> None:
        """A stream has ended."""
        self.open -= 1

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Room for one more recording that is taken in: for as many as streams.

        Raises:
            Problem: the key has as many as it may, or has no seconds left.
        """
        if self.streams is not None and self.uploads >= self.streams:
            message = f"of this API key {self.uploads} recordings are being taken in, and {self.streams} may be"
            raise Problem(Kind.TOO_MANY, message)
        self.spend(0.0)
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

    def spend(self, seconds: float) -> None:
        """Hear so much audio.

        Raises:
            Problem: the day's seconds are spent.
        """
        today = int(time.time() // DAY)
        if today != self._day:
            self._day, self._spent = today, 0.0
        self._spent += seconds
        if self.seconds_per_day is not None and self._spent > self.seconds_per_day:
            raise Problem(Kind.TOO_MANY, f"this API key has spent its {self.seconds_per_day:g} s of today (UTC)")


@dataclass
class Keys:
    """All keys. Without a file everybody may come in."""

    path: str = ""
    _keys: dict[bytes, Key] = field(default_factory=dict)
    _secrets: dict[bytes, tuple[float, Key]] = field(default_factory=dict)
    _read: tuple[int, int] = (0, 0)  # the file's time and size when it was read
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self._everybody = Key("everybody")
        if self.path:
            self._reload()

    def check(self, token: str | None) -> Key:
        """The key that a client shows.

        Raises:
            Problem: none, or an unknown one.
        """
        if not self.path:
            return self._everybody
        self._look_again()
        shown, found = _digest(token or ""), None
        for digest, key in self._digests():
            if hmac.compare_digest(digest, shown):
                found = key
        if found is None or not token:
            raise Problem(Kind.UNAUTHENTICATED, "this API key is unknown" if token else "an API key is required")
        return found

    def check_again(self, key: Key) -> None:
        """Whether a key that was shown some time ago still lets anybody in.

        Raises:
            Problem: it does not.
        """
        if self.path:
            self._look_again()
        if key.revoked:
            raise Problem(Kind.UNAUTHENTICATED, "this API key is no longer in force")

    def mint(self, key: Key, seconds: float) -> tuple[str, float]:
        """A secret that stands for a key for some time, to be given to a browser; and the time when it ends."""
        secret, ends = f"ek_{secrets.token_urlsafe(24)}", time.time() + seconds
        if self.path:
            self._secrets = {digest: kept for digest, kept in self._secrets.items() if kept[0] > time.time()}
            self._secrets[_digest(secret)] = ends, key
        return secret, ends

    def all(self) -> list[Key]:
        """All keys that are in force."""
        return [self._everybody, *(key for _, key in self._digests())]

    def _digests(self) -> list[tuple[bytes, Key]]:
        now = time.time()
        return [*self._keys.items(), *((digest, key) for digest, (ends, key) in self._secrets.items() if ends > now)]

    def _look_again(self) -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN:
            self._looked = now
            if _state(self.path) not in {self._read, None}:
                try:
                    self._reload()
                except OptionError as error:
                    logger.warning("the API keys stay as they were", extra={"fields": {"problem": str(error)}})

    def _reload(self) -> None:
        """Read the file; keys that stay keep what they have spent, and secrets of those that do not end with them.

        Raises:
            OptionError: the file is not what it should be; the keys stay as they were.
        """
        self._read = _state(self.path) or (0, 0)
        keys, before = _read_keys(self.path), self._keys
        for digest in keys.keys() & before.keys():
            old, new = before[digest], keys[digest]
            old.name, old.streams, old.seconds_per_day = new.name, new.streams, new.seconds_per_day
            keys[digest] = old
        self._keys = keys
        for digest in before.keys() - keys.keys():
            before[digest].revoked = True
        self._secrets = {digest: kept for digest, kept in self._secrets.items() if not kept[1].revoked}


def _read_keys(path: str) -> dict[bytes, Key]:
    """The keys of a file, by digest."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise OptionError(f"the API key file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise OptionError(f"the API key file {path} cannot be read: it is not text in UTF-8") from None
    keys: dict[bytes, Key] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            token, *rest = line.split()
            keys[_digest(token)] = _described(rest, f"{path}, line {number}", f"key {number}")
    return keys


def _described(words: list[str], place: str, name: str) -> Key:
    key = Key(name)
    for word in words:
        what, _, value = word.partition("=")
        match what:
            case "name":
                key.name = value
            case "streams":
                key.streams = _limit(value, int, f"{place}: {what}")
            case "seconds_per_day":
                key.seconds_per_day = _limit(value, float, f"{place}: {what}")
            case _:  # which may be a secret in the wrong place, as may every value
                raise OptionError(f"{place}: choose name=, streams= or seconds_per_day= to stand behind a key")
    return key


def _limit(text: str, number: type[_Number], what: str) -> _Number:
    try:
        limit = number(text)
    except ValueError:
        limit = number(-1)
    if not limit >= 0:  # which no NaN is, either
        raise OptionError(f"{what} is not a number from 0 on")
    return limit


def _state(path: str) -> tuple[int, int] | None:
    """What changes when a file does; None if it is not there just now."""
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
