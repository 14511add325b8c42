"""Pages of others in a browser: neither WebSockets nor forms, where no key is asked for."""

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from websockets.typing import Origin

from nemotron_asr.server.origins import OwnPages
from nemotron_asr.server.service import Service
from nemotron_asr.server.settings import Settings
from tests.server.conftest import Running, running

FOREIGN = "https://elsewhere.example"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(cors_origin=("https://friend.example",)) as server:
        yield server


async def status(server: Running, origin: str | None) -> int:
    try:
        page = None if origin is None else Origin(origin)
        async with websockets.connect(f"{server.websocket}/v1/stream", origin=page):
            return 101
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


async def test_a_page_of_others_opens_no_websocket(server: Running) -> None:
    assert await status(server, FOREIGN) == 403
    assert await status(server, "null") == 403
    assert await status(server, "https://[") == 403


async def test_everybody_else_does(server: Running) -> None:
    """Programs, our own page, those that are named, and pages of the same machine."""
    assert await status(server, None) == 101
    assert await status(server, server.http) == 101
    assert await status(server, "https://friend.example") == 101
    assert await status(server, "http://localhost:3000") == 101


@pytest.mark.parametrize("more", [{}, {"X-Forwarded-For": "192.0.2.7"}])
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
def test_a_name_that_was_made_to_mean_this_machine(server: Running, header: str, more: dict[str, str]) -> None:
    """Whatever its page says of where it comes from."""
    headers = {header: "asr.example:8000", "Origin": "http://asr.example:8000", **more}
    assert httpx.post(f"{server.http}/v1/stream", headers=headers, content=b"").status_code == 403


@pytest.mark.parametrize(("address", "answer"), [("192.0.2.7", 200), ("127.0.0.1", 403), ("::ffff:127.0.0.1", 403)])
def test_a_page_has_the_name_that_its_machine_has_elsewhere(address: str, answer: int) -> None:
    def app(_: Request) -> PlainTextResponse:
        return PlainTextResponse("heard")

    routes, middleware = [Route("/", app, methods=["POST"])], [Middleware(OwnPages, service=Service(Settings()))]
    client = TestClient(Starlette(routes=routes, middleware=middleware), client=(address, 4000))
    headers = {"Host": "asr.example", "Origin": "https://asr.example"}
    assert client.post("/", headers=headers).status_code == answer


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
