"""Whatever strangers send: a neighbour gets its words, nothing is left, and nothing goes wrong unexpectedly."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection, connect

from tests.server.conftest import Running

URL = "/v1/stream?encoding=s16le&latency_ms=320&interim_results=false"


def left(server: Running) -> int:
    """Conversations that are open though everybody has gone."""
    deadline = time.monotonic() + 30
    while server.service.conversations and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(server.service.conversations)


@contextmanager
def staying(socket: ClientConnection) -> Iterator[None]:
    """Say now and then that somebody is there."""
    over = threading.Event()

    def stay() -> None:
        while not over.wait(10):
            socket.send('{"type": "keep_alive"}')

    thread = threading.Thread(target=stay)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def neighbour(
    server: Running, speech: NDArray[np.int16], caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[None]:
    """A stream that is open from before the first example to behind the last one."""
    heard = server.recognizer.transcribe((speech, 16_000), latency_ms=320)
    middle = len(speech) // 2
    with connect(server.websocket + URL, open_timeout=30) as socket:
        socket.send(speech[:middle].tobytes())
        with staying(socket):
            yield
        socket.send(speech[middle:].tobytes())
        socket.send('{"type": "close"}')
        events = [json.loads(message) for message in socket]
    assert [event["text"] for event in events if event["type"] == "final"] == [one.text for one in heard.segments]
    assert left(server) == 0
    loud = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not loud, f"{request.node.name}: {loud[0]}"
