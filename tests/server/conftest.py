"""One server for all tests, with real sockets on free ports, in a thread."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from nemotron_asr.recognizer import Recognizer
from nemotron_asr.server.service import Service
from nemotron_asr.server.serving import serve
from nemotron_asr.server.settings import Settings
from tests.conftest import Sample


@dataclass(frozen=True)
class Running:
    """A server that runs in a thread.

    Attributes:
        ports: by protocol.
        recognizer: its first model, to compare with.
    """

    service: Service
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event

    def stop(self) -> None:
        """What a signal does."""
        self.loop.call_soon_threadsafe(self.stopping.set)

    @property
    def ports(self) -> dict[str, int]:
        return self.service.ports

    @property
    def recognizer(self) -> Recognizer:
        return self.service.models.find(None).recognizer

    @property
    def _secure(self) -> str:
        return "s" if self.service.settings.tls_certificate else ""

    @property
    def http(self) -> str:
        return f"http{self._secure}://127.0.0.1:{self.ports['http']}"

    @property
    def websocket(self) -> str:
        return f"ws{self._secure}://127.0.0.1:{self.ports['http']}"


@contextmanager
def running(**settings: Any) -> Iterator[Running]:
    """Run a server; every port is a free one unless it is given."""
    made = Settings.of({"port": 0, "grpc_port": 0, "wyoming_port": 0, "max_streams": 64, **settings})
    started, outcome = threading.Event(), dict[str, Any]()

    async def main() -> None:
        outcome["stop"], outcome["loop"] = asyncio.Event(), asyncio.get_running_loop()

        def note(service: Service) -> None:
            outcome["service"] = service
            started.set()

        await serve(made, outcome["stop"], note)

    with ThreadPoolExecutor(1, thread_name_prefix="server") as thread:
        served = thread.submit(asyncio.run, main())
        served.add_done_callback(lambda _: started.set())
        started.wait(60)
        if "service" not in outcome:
            served.result(0)
        try:
            yield Running(outcome["service"], outcome["loop"], outcome["stop"])
        finally:
            if not served.done():
                outcome["loop"].call_soon_threadsafe(outcome["stop"].set)
            served.result(60)


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """The server that tests share, with the embedded model: it says words, with language tags, in segments."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def speech(samples: list[Sample]) -> NDArray[np.int16]:
    """Two recordings in two languages with a pause between, mono at 16 kHz."""
    parts = [samples[0].audio, np.zeros(16_000, np.float32), samples[2].audio]
    return (np.concatenate(parts) * 32767).round().astype(np.int16)


@pytest.fixture(scope="session")
def ten_silent_hours(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten hours of nothing, which FLAC writes in few bytes."""
    return as_long_flac(np.zeros(8000, np.int16), 8000, tmp_path_factory.mktemp("bomb"))


@pytest.fixture(scope="session")
def long_speech(speech: NDArray[np.int16], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Speech, and then nothing for ten hours."""
    return as_long_flac(speech, 16_000, tmp_path_factory.mktemp("long"))


def as_long_flac(samples: NDArray[np.int16], rate: int, folder: Path) -> bytes:
    """Samples, and then nothing for ten hours."""
    path = folder / "hours.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=rate, options={"compression_level": "0", "frame_size": "65535"})
        for part in (samples, *[np.zeros(600 * rate, np.int16)] * 60):
            frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(scope="session")
def silence() -> NDArray[np.int16]:
    """A second of nothing."""
    return np.zeros(16_000, np.int16)
