"""What a GPU's own counters say: energy, utilisation, memory. They need `nvidia-ml-py`; without it there are none."""

import importlib
import importlib.util
import threading
import time
from types import TracebackType
from typing import Any, Self

import torch

NOT_MEASURED = "not measured"

PERIOD = 0.2
"""Seconds between two looks at the utilisation."""


class Meter:
    """Reads the counters while the context lasts."""

    def __init__(self, device: torch.device) -> None:
        self._nvml: Any = None
        self._over = threading.Event()
        self._looks: list[int] = []
        self._joules = self._seconds = 0.0
        if device.type == "cuda" and importlib.util.find_spec("pynvml") is not None:
            self._nvml = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(device.index or 0)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._nvml:
            self._seconds, self._joules = -time.monotonic(), -self._energy()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nvml:
            self._over.set()
            self._thread.join()
            self._seconds, self._joules = self._seconds + time.monotonic(), self._joules + self._energy()

    @property
    def watts(self) -> float:
        """The mean; 0 where there is no counter."""
        return round(self._joules / self._seconds, 1) if self._seconds else 0.0

    @property
    def utilisation(self) -> str:
        """Share of the time in which the GPU computed anything."""
        return f"{sum(self._looks) / len(self._looks):.0f} %" if self._looks else NOT_MEASURED

    def _energy(self) -> float:
        """Joules since the driver was loaded; 0 where the counter cannot be read."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000
        except self._nvml.NVMLError:
            return 0.0

    def _watch(self) -> None:
        while not self._over.wait(PERIOD):
            try:
                self._looks.append(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
            except self._nvml.NVMLError:
                return
