"""Our own shape, through the `websockets` client and plain HTTP."""

import asyncio
import json
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from tests.server.conftest import Running
from tests.server.contract import Contract, Request, Told


async def send(socket: ClientConnection, request: Request) -> None:
    for data, finalize in request.packets():
        await socket.send(data)
        await asyncio.sleep(request.wait(data))
        if finalize:
            await socket.send('{"type": "finalize"}')
    if request.hang_up:
        socket.transport.abort()
    else:
        await socket.send('{"type": "close"}')


async def talk(url: str, request: Request) -> list[dict[str, Any]]:
    async with websockets.connect(url) as socket:
        sending = asyncio.create_task(send(socket, request))
        events = [json.loads(message) async for message in ignoring_the_end(socket)]
        await sending
        return events


async def ignoring_the_end(socket: ClientConnection) -> Any:
    try:
        async for message in socket:
            yield message
    except websockets.ConnectionClosedError:
        pass


def told(event: dict[str, Any]) -> Told:
    if event["type"] == "finalized":
        return Told("finalized")
    words = tuple((word["word"], word["start"], word["end"]) for word in event["words"])
    return Told(event["type"], event["text"], words, event["language"])


class TestWebSocket(Contract):
    def converse(self, server: Running, request: Request) -> list[Told]:
        options = f"language={request.language}&interim_results={request.interim}"
        url = f"{server.websocket}/v1/stream?encoding=s16le&latency_ms=320&{options}"
        events = asyncio.run(talk(url, request))
        return [told(event) for event in events if event["type"] in {"partial", "final", "finalized"}]
