"""OpenAI's realtime protocol for transcription, in today's shape and that of the beta: one connection."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from nemotron_asr.server import openai_session as sessions
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.keys import Key
from nemotron_asr.server.nim_session import is_nim
from nemotron_asr.server.objects import Message, object_of
from nemotron_asr.server.openai_turns import Turns
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.realtime_messages import audio_of, to_text
from nemotron_asr.server.service import Service
from nemotron_asr.server.waits import stopping
from nemotron_asr.server.web import CLOSE_CODES

PROTOCOL = "openai-realtime"

SHORTEST_COMMIT_MS = 100
"""Audio that a turn must have."""

REST = 10.0
"""Seconds without a message after which a client whose turns are all told needs no stream for now."""

PATIENCE = 600.0
"""Seconds without a message after which the connection ends."""

Event = Mapping[str, Any]


async def read_session(session: sessions.Session, service: Service) -> sessions.Config:
    """What a session asks for.

    Raises:
        Problem: it could not be heard.
    """
    config = sessions.read(session)
    await service.check(config.model, shapes.FOREIGN_MODELS, endpointing_ms=config.silence, **config.changeable)
    return config


class Realtime:
    """One connection. Its stream is opened by the first audio, and another one when the session needs it."""

    def __init__(
        self, websocket: WebSocket, service: Service, key: Key, session: sessions.Session, *, beta: bool
    ) -> None:
        self._websocket, self._service, self._key = websocket, service, key
        self._session, self._beta = session, beta
        self._handed_over: Message | None = None  # the message that turned out to be NIM's
        self._turns = Turns()
        self._configure(sessions.read(session))
        self._stream: Conversation | None = None
        self._resources = AsyncExitStack()
        self._telling = self._listening = asyncio.create_task(asyncio.sleep(0))
        self._problem: Problem | None = None  # what went wrong with the stream
        self._uncommitted = 0  # bytes of the stream behind the last commit
        self._cleared = False  # they are not to be told
        self._does: Mapping[str, Callable[[Event], Awaitable[None]]] = {
            "session.update": self._update, "transcription_session.update": self._update_beta,
            "input_audio_buffer.append": self._append, "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }  # fmt: skip

    async def run(self) -> Message | None:
        """Hear and tell until the client goes away, or something goes wrong.

        Returns:
            A message by which the client turned out to speak the dialect of NIM containers, if one did.
        """
        self._listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait([self._listening])
            if self._problem is not None:
                await self._fail(self._problem)
                await self._websocket.close(CLOSE_CODES[self._problem.kind], self._problem.kind.word)
            elif not self._listening.cancelled():
                self._listening.result()
        finally:
            self._listening.cancel()
            await self._drop()
        return self._handed_over

    async def _listen(self) -> None:
        """What the client sends, until it goes away; what cannot be heeded is answered, and the connection goes on."""
        with suppress(WebSocketDisconnect):
            await self._say_session("created")
            while self._problem is None and self._handed_over is None:
                event = Message()
                try:
                    event = object_of(await self._receive())
                    does = self._does.get(str(event.get("type")))
                    if does is None:
                        raise invalid(
                            f"event {str(event.get('type'))[:40]!r} is unknown; choose {', '.join(self._does)}"
                        )
                    await does(event)
                except Problem as problem:
                    if problem is not self._problem:
                        await self._fail(problem, event.get("event_id"))

    async def _receive(self) -> str:
        """The next message; a client that is silent between turns gives its stream back for now."""
        waited = 0.0
        while True:
            try:
                async with asyncio.timeout(REST):
                    message = await self._websocket.receive()
            except TimeoutError:
                waited += REST
                await self._rest(waited)
                continue
            return message.get("text") or ""

    async def _rest(self, waited: float) -> None:
        if waited >= PATIENCE:
            self._problem = Problem(Kind.TIMEOUT, f"nothing came for {waited:g} s, which is the limit")
            self._listening.cancel()
        elif self._stream is not None and self._turns.by_client and self._uncommitted:
            self._stream.keep_alive()
        elif self._stream is not None and not self._turns.waiting:
            await self._finish()

    async def _update(self, event: Event) -> None:
        session = sessions.updated(self._session, event.get("session"))
        config = await read_session(session, self._service)
        if self._stream is not None and config.needs_another_stream(self._config):
            if self._turns.by_client and self._may_commit:
                await self._end_turn(self._stream)
            await self._finish()
        elif self._stream is not None and config.changeable != self._config.changeable:
            await self._stream.change(**config.changeable)
        self._session = session
        self._configure(config)
        await self._say_session("updated")

    async def _update_beta(self, event: Event) -> None:
        if is_nim(event.get("session")):
            self._handed_over = dict(event)
            return
        self._beta = True
        await self._update({"session": sessions.from_beta(event.get("session"))})

    async def _append(self, event: Event) -> None:
        data = audio_of(event)
        with self._breaking():
            stream = self._stream or await self._open()
            await stream.feed(data)
        self._uncommitted += len(data)

    async def _commit(self, event: Event) -> None:
        stream = self._stream
        if stream is None or not self._may_commit:
            problem = invalid(f"there is less than {SHORTEST_COMMIT_MS} ms of audio to commit")
            await self._fail(problem, event.get("event_id"), "input_audio_buffer_commit_empty")
        else:
            await self._end_turn(stream)

    @property
    def _may_commit(self) -> bool:
        """Whether there is audio enough; in bytes, for clients send packets of just this length."""
        return 1000 * self._uncommitted >= SHORTEST_COMMIT_MS * self._config.form.bytes_a_second

    async def _end_turn(self, stream: Conversation) -> None:
        self._uncommitted = 0
        for message in self._turns.commit():
            await self._say(message)
        with self._breaking():
            await stream.finalize()

    async def _clear(self, _: Event) -> None:
        self._cleared = True
        if self._turns.waiting:
            await asyncio.wait([self._telling])
        await self._drop()
        await self._say({"type": "input_audio_buffer.cleared"})

    async def _open(self) -> Conversation:
        config = self._config
        self._stream = await self._resources.enter_async_context(
            await self._service.open(
                self._key, PROTOCOL, config.form, model=config.model, foreign=shapes.FOREIGN_MODELS,
                endpointing_ms=config.silence, **config.changeable,
            )
        )  # fmt: skip
        self._telling = asyncio.create_task(self._tell(self._stream))
        return self._stream

    async def _finish(self) -> None:
        """Tell all that is left to be told of the stream; the next audio opens another one."""
        if self._stream is not None:
            with self._breaking():
                await self._stream.close()
            await asyncio.wait([self._telling])
            await self._drop()

    async def _drop(self) -> None:
        """Leave the stream as it is; the next audio opens another one."""
        self._telling.cancel()
        await asyncio.wait([self._telling])
        await self._resources.aclose()
        if self._stream is not None:
            self._turns.next_stream(self._stream.duration)
        self._stream, self._uncommitted, self._cleared = None, 0, False

    async def _tell(self, stream: Conversation) -> None:
        try:
            async for event in stream:
                for message in self._turns.of(event):
                    await self._say(message)
                if self._cleared and not self._turns.waiting:
                    return
            if stream.ended:
                raise stopping()
        except WebSocketDisconnect:
            self._listening.cancel()  # what has come before it went away is heard for nobody
        except Problem as problem:
            self._problem = self._problem or problem
            self._listening.cancel()

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """What goes wrong with the stream is the end of the connection."""
        try:
            yield
        except Problem as problem:
            self._problem = problem
            raise

    def _configure(self, config: sessions.Config) -> None:
        self._config = config
        self._turns.by_client, self._turns.logprobs = config.silence is None, config.logprobs

    async def _say_session(self, what: str) -> None:
        kind, session = (
            ("transcription_session", sessions.to_beta(self._session)) if self._beta else ("session", self._session)
        )
        await self._say({"type": f"{kind}.{what}", "session": session})

    async def _fail(self, problem: Problem, event_id: object = None, code: str | None = None) -> None:
        told = shapes.error(problem)
        await self._say({"type": "error", "error": {**told, "code": code or told["code"], "event_id": event_id}})

    async def _say(self, message: Message) -> None:
        await self._websocket.send_text(to_text(message))
