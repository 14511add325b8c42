"""What goes wrong, in no protocol's words: a kind, which has a status in HTTP, and one line for the user."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from nemotron_asr.errors import (
    AtCapacity,
    AudioError,
    EngineClosedError,
    LanguageError,
    MissingExtraError,
    NemotronError,
    OptionError,
    StreamClosedError,
)

LONGEST, LONGEST_NAME = 500, 100
"""Characters of a message, and of a parameter: what a client sent is named in it, however long that was."""


class Kind(Enum):
    """Kinds of problems; the value is the status in HTTP."""

    INVALID = 400  # the request is wrong: an option, a message out of order, unusable audio
    UNAUTHENTICATED = 401  # no API key, or an unknown one
    FORBIDDEN = 403  # a web page from elsewhere
    NOT_FOUND = 404  # no such model
    TIMEOUT = 408  # nothing came for too long, or the stream lasts too long
    TOO_LARGE = 413  # a message, an upload, or what it decodes to
    TOO_MANY = 429  # the key's own limits
    INTERNAL = 500  # ours to repair
    UNAVAILABLE = 503  # the machine is full, still loading, or about to stop; later will do

    @property
    def word(self) -> str:
        """The name in messages and metrics, e.g. `too_large`."""
        return self.name.lower()


class Problem(NemotronError):  # noqa: N818 - adapters raise it on purpose, and it is an answer
    """What an adapter tells its client, in the protocol's own shape.

    Attributes:
        kind: which adapters translate.
        parameter: the option that is wrong, if one is.
        counted: it is in the metrics and the log.
    """

    def __init__(self, kind: Kind, message: str, parameter: str | None = None) -> None:
        super().__init__(textwrap.shorten(message, LONGEST, placeholder="..."))
        self.kind, self.parameter = kind, parameter and parameter[:LONGEST_NAME]
        self.counted = False

    @property
    def status(self) -> int:
        """The status in HTTP."""
        return self.kind.value


def invalid(message: str, parameter: str | None = None) -> Problem:
    """A request that is wrong."""
    return Problem(Kind.INVALID, message, parameter)


_INVALID = (LanguageError, OptionError, AudioError, MissingExtraError, StreamClosedError)
_UNAVAILABLE = (AtCapacity, EngineClosedError)


def problem_of(error: NemotronError) -> Problem:
    """The problem that an error of the engine is."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, _INVALID):
        parameter = "language" if isinstance(error, LanguageError) else getattr(error, "option", None)
        return invalid(str(error), parameter)
    return Problem(Kind.UNAVAILABLE if isinstance(error, _UNAVAILABLE) else Kind.INTERNAL, str(error))


@contextmanager
def translated() -> Iterator[None]:
    """Whatever goes wrong in here is a problem."""
    try:
        yield
    except NemotronError as error:
        raise problem_of(error) from error
