"""The default microphone, through the optional package sounddevice."""

import queue
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.cli.live import Packets
from nemotron_asr.cli.running import note
from nemotron_asr.errors import AudioError, MissingExtraError, needs_extra


def from_microphone(seconds: float) -> Packets:
    """What the default microphone hears, at its own rate, in packets of so many seconds.

    Raises:
        AudioError: there is no microphone.
        MissingExtraError: sounddevice, or the PortAudio library that it needs, is not installed.
    """
    device = _sounddevice()
    try:
        about = device.query_devices(kind="input")
    except device.PortAudioError as error:
        raise AudioError(f"microphone: {error}") from None
    rate = int(about["default_samplerate"])
    return Packets(_recorded(device, str(about["name"]), rate, int(seconds * rate)), rate)


def _recorded(device: ModuleType, name: str, rate: int, size: int) -> Iterator[NDArray[np.int16]]:
    """Packets from a thread that never waits for the model."""
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def keep(data: Any, *_: object) -> None:
        heard.put(bytes(data))

    try:
        with device.RawInputStream(samplerate=rate, channels=1, dtype="int16", blocksize=size, callback=keep):
            note(f"listening to {name}; Ctrl-C ends")
            while True:
                with suppress(queue.Empty):  # waiting without end would not hear Ctrl-C on Windows
                    yield np.frombuffer(heard.get(timeout=0.2), np.int16)
    except device.PortAudioError as error:
        raise AudioError(f"microphone: {error}") from None


def _sounddevice() -> ModuleType:
    try:
        return import_module("sounddevice")
    except ImportError:
        raise needs_extra("--microphone", "mic") from None
    except OSError as error:
        raise MissingExtraError(f"--microphone needs the PortAudio library: {error}") from None
