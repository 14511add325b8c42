"""Deepgram's protocol, through Deepgram's own client."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment

from tests.server.conftest import Running
from tests.server.contract import Contract, Request, Told

pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # the client imports what is old


def client(server: Running, key: str = "none") -> DeepgramClient:
    address = DeepgramClientEnvironment(base=server.http, production=server.websocket, agent="", agent_rest="")
    return DeepgramClient(api_key=key, environment=address)


def send(socket: Any, request: Request) -> None:
    for data, finalize in request.packets():
        socket.send_media(data)
        time.sleep(request.wait(data))
        if finalize:
            socket.send_finalize()
    if request.hang_up:
        socket._websocket.socket.close()
    else:
        socket.send_close_stream()


def talk(server: Running, say: Callable[[Any], None], **options: Any) -> list[Any]:
    """All messages of a connection on which `say` speaks in a thread of its own."""
    asked = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, "language": "multi", **options}
    with client(server).listen.v1.connect(**asked) as socket:
        speaking = threading.Thread(target=say, args=(socket,))
        speaking.start()
        messages = list[Any]()
        socket.on(EventType.MESSAGE, messages.append)
        socket.start_listening()
        speaking.join()
    return messages


def told(message: Any) -> list[Told]:
    best = message.channel.alternatives[0]
    words = tuple((word.punctuated_word, word.start, word.end) for word in best.words)
    language = best.languages[0] if best.languages else None
    said = [Told("final" if message.is_final else "partial", best.transcript, words, language)]
    said = said if best.transcript else []
    return said + ([Told("finalized")] if message.from_finalize else [])


class TestLive(Contract):
    def converse(self, server: Running, request: Request) -> list[Told]:
        language = "multi" if request.language == "auto" else request.language
        messages = talk(
            server, lambda socket: send(socket, request), language=language, interim_results=request.interim
        )
        return [one for message in messages if message.type == "Results" for one in told(message)]
