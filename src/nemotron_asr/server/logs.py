"""What the server says of itself: a line an event, for people or for machines; never audio, text or keys."""

import json
import logging
import sys
import time

from nemotron_asr.errors import OptionError

LEVELS = ("debug", "info", "warning", "error")


def start_logging(form: str, level: str) -> None:
    """Log to standard error.

    Args:
        form: "text" or "json".
        level: one of `LEVELS`.

    Raises:
        OptionError: neither of them.
    """
    if form not in _FORMATTERS:
        raise OptionError(f"log_format {form!r} is unknown; choose {', '.join(_FORMATTERS)}")
    if level not in LEVELS:
        raise OptionError(f"log_level {level!r} is unknown; choose {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[form]())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    uvicorn = logging.getLogger(
        "uvicorn.error"
    )  # below warnings it logs addresses with their queries, and keys in them
    uvicorn.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    uvicorn.addFilter(lambda record: "without completing handshake" not in record.msg)  # so we refuse WebSockets


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        line = f"{_moment(record)} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record), "level": record.levelname.lower(), "logger": record.name,
            "message": record.getMessage(), **getattr(record, "fields", {}),
        }  # fmt: skip
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


_FORMATTERS = {"text": _Text, "json": _Json}


def _moment(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
