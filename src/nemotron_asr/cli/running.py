"""How every command ends: one line for every error, an exit status, and no noise from libraries."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence

import click

from nemotron_asr.errors import AudioError, EngineClosedError, NemotronError, StreamFailedError, printable

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

_FAILURES = (AudioError, StreamFailedError, EngineClosedError)
"""What was asked for was right, and did not come off."""

logger = logging.getLogger(__name__)


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command line, of this process unless given, and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _speak_utf8()
    with warnings.catch_warnings():
        _silence_libraries()
        try:
            return command.main(given, "nemotron-asr", standalone_mode=False) or DONE
        except Exception as error:  # whatever it is, the user sees one line; --debug logs the rest
            logger.debug("where it happened", exc_info=True)
            message, status = _verdict(_unwritten() or error)
            note(message + _hint(error, given))
            return status


def note(line: str) -> None:
    """Say something that is no result, in one line, whatever names it holds."""
    click.echo(printable(line), err=True)


def check_output() -> None:
    """Look whether results can be written, before there are any: click drops them where there is no standard output.

    Raises:
        OSError: it is closed.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed")


def why(error: OSError) -> str:
    """Why a file could not be read or written, after its name if it has one."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def _unwritten() -> OSError | None:
    """Why standard output does not take what is left to be printed, if so; then the interpreter will not try again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OSError(f"standard output cannot be written: {why(error)}")
    return None


def _verdict(error: Exception) -> tuple[str, int]:
    """What to say of an error, in one line, and the exit status."""
    match error:
        case click.Abort():
            return "interrupted", INTERRUPTED
        case click.ClickException():
            return f"error: {_line(error.format_message())}", error.exit_code
        case NemotronError():
            return f"error: {_line(error)}", FAILED if isinstance(error, _FAILURES) else WRONG_USAGE
        case OSError():
            return f"error: {_line(why(error))}", FAILED
    reason = _line(str(error).partition("\n")[0])
    return f"error: unexpected {type(error).__name__}: {reason} (--debug shows where)", FAILED


def _hint(error: Exception, arguments: Sequence[str]) -> str:
    """What to do about a file that was taken for an option."""
    dashed = [argument for argument in arguments if argument.startswith("-") and os.path.isfile(argument)]  # noqa: PTH113
    if not dashed or not isinstance(error, click.NoSuchOption):
        return ""
    return f" A file whose name begins with - is given as ./{dashed[0]}"


def _line(message: object) -> str:
    return " ".join(str(message).split())


def _speak_utf8() -> None:
    """Write UTF-8 whatever the locale says; what is no Unicode, in a file's name, is escaped as in JSON."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _silence_libraries() -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _be_loud(_context: click.Context, _parameter: click.Parameter, debug: bool) -> None:
    if debug:
        logging.basicConfig(level=logging.DEBUG, force=True)
        warnings.simplefilter("default")


debug = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_be_loud,
    help="Show where errors come from, and what libraries say.",
)
"""The option that every command has which does anything."""
