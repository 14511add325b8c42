"""What a GPU's own counters say: energy, utilisation, memory. They need `nvidia-ml-py`; without it there are none."""

import importlib
import importlib.util
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import torch

NOT_MEASURED = "not measured"

PERIOD = 0.2
"""Seconds between two looks at the utilisation."""


class Meter:
    """Reads the counters while the context lasts. One that cannot be read is not measured, and ends no benchmark."""

    def __init__(self, device: torch.device) -> None:
        self._nvml, self._card = _counters_of(device)
        self._over = threading.Event()
        self._looks: list[int] = []
        self._energy: list[tuple[float, float]] = []  # seconds on the clock, joules since the driver was loaded
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._nvml:
            self._note_energy()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nvml:
            self._over.set()
            self._thread.join()
            self._note_energy()

    @property
    def watts(self) -> float:
        """The mean; 0 where there is no counter."""
        if len(self._energy) < 2:
            return 0.0
        (began, before), (ended, after) = self._energy
        return round((after - before) / (ended - began), 1)

    @property
    def utilisation(self) -> str:
        """Share of the time in which the GPU computed anything."""
        return f"{sum(self._looks) / len(self._looks):.0f} %" if self._looks else NOT_MEASURED

    def _note_energy(self) -> None:
        with suppress(self._nvml.NVMLError):
            joules = float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._card)) / 1000
            self._energy.append((time.monotonic(), joules))

    def _watch(self) -> None:
        with suppress(self._nvml.NVMLError):
            while not self._over.wait(PERIOD):
                self._looks.append(self._nvml.nvmlDeviceGetUtilizationRates(self._card).gpu)


def _counters_of(device: torch.device) -> tuple[Any, Any]:
    """NVIDIA's library and its handle of the device, or nothing."""
    if device.type != "cuda" or importlib.util.find_spec("pynvml") is None:
        return None, None
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid  # numbers are others' where some devices are hidden
        return nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except nvml.NVMLError:
        return None, None
