"""Speech to text with NVIDIA's Nemotron 3.5 ASR: files, live streams, training.

import nemotron_asr
asr = nemotron_asr.load()
print(asr.transcribe("talk.mp3").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nemotron_asr import errors, events
    from nemotron_asr.engine import Engine, Session
    from nemotron_asr.recognizer import LiveTranscription, Recognizer, load
    from nemotron_asr.transcript import Transcript

__version__ = "0.1.0"
__all__ = [
    "Engine",
    "LiveTranscription",
    "Recognizer",
    "Session",
    "Transcript",
    "__version__",
    "errors",
    "events",
    "load",
]

_HOMES = {
    "Engine": "engine",
    "LiveTranscription": "recognizer",
    "Recognizer": "recognizer",
    "Session": "engine",
    "Transcript": "transcript",
    "load": "recognizer",
}


def __dir__() -> list[str]:
    """What there is to be had, for those who type a name's first letters."""
    return __all__


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in {"errors", "events"}:
        return import_module(f"nemotron_asr.{name}")
    if name in _HOMES:
        return getattr(import_module(f"nemotron_asr.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'nemotron_asr' has no attribute {name!r}")
