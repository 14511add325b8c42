"""Pages of others in a browser: neither WebSockets nor forms, where no key is asked for."""

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
import websockets
from websockets.typing import Origin

from tests.server.conftest import Running, running

FOREIGN = "https://elsewhere.example"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(cors_origin=("https://friend.example",)) as server:
        yield server


async def status(server: Running, origin: str | None, host: str | None = None) -> int:
    headers = {"X-Forwarded-Host": host} if host else {}
    try:
        page = None if origin is None else Origin(origin)
        async with websockets.connect(f"{server.websocket}/v1/stream", origin=page, additional_headers=headers):
            return 101
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


async def test_a_page_of_others_opens_no_websocket(server: Running) -> None:
    assert await status(server, FOREIGN) == 403
    assert await status(server, "null") == 403
    assert await status(server, "https://[") == 403


async def test_everybody_else_does(server: Running) -> None:
    """Programs, our own page, a page behind a proxy, those that are named, and pages of the same machine."""
    assert await status(server, None) == 101
    assert await status(server, server.http) == 101
    assert await status(server, "https://asr.example", "asr.example") == 101
    assert await status(server, "https://friend.example") == 101
    assert await status(server, "http://localhost:3000") == 101


def test_forms_are_refused_in_words_and_reading_is_not(server: Running) -> None:
    headers = {"Origin": FOREIGN}
    answer = httpx.post(f"{server.http}/v1/audio/transcriptions", headers=headers, files={"file": b""})
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith(f"pages of {FOREIGN} may not use this server")
    assert httpx.get(f"{server.http}/health/live", headers=headers).status_code == 200


async def test_a_key_is_enough(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-long-secret-key-for-tests name=page\n")
    with running(api_key_file=keys) as server:
        assert await status(server, FOREIGN) == 401
        url = f"{server.websocket}/v1/stream?token=a-long-secret-key-for-tests"
        async with websockets.connect(url, origin=Origin(FOREIGN)):
            pass
