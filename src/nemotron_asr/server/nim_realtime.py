"""A NIM container's realtime protocol: like OpenAI's beta, but a commit ends nothing and follows every chunk."""

import asyncio
from collections.abc import Iterator

from starlette.websockets import WebSocket

from nemotron_asr.events import Final, Word
from nemotron_asr.server import nim_session as sessions
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.conversation import Conversation, StreamEvent
from nemotron_asr.server.keys import Key
from nemotron_asr.server.objects import Message, object_of
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.realtime_messages import audio_of, new_id, to_text
from nemotron_asr.server.riva_shapes import FOREIGN_MODELS
from nemotron_asr.server.service import Service
from nemotron_asr.server.sides import side_by_side
from nemotron_asr.server.web import CLOSE_CODES

PROTOCOL = "nim-realtime"

_APPEND, _COMMIT = "input_audio_buffer.append", "input_audio_buffer.commit"
_DONE, _UPDATE = "input_audio_buffer.done", "transcription_session.update"


class Nim:
    """One connection."""

    def __init__(self, websocket: WebSocket, service: Service, key: Key) -> None:
        self._websocket, self._service, self._key = websocket, service, key
        self._session: sessions.Session = sessions.new_session(next(iter(service.models.by_name), ""))
        self._item, self._deltas = new_id("item"), shapes.Deltas()
        self._text = ""  # of all segments

    async def run(self, first: Message | None = None) -> None:
        """Hear and tell until the client is done, goes away, or something goes wrong.

        Args:
            first: a message that has been taken in already.
        """
        try:
            await self._run(first)
        except Problem as problem:
            await self._say({"type": "error", "error": shapes.error(problem)})
            await self._websocket.close(CLOSE_CODES[problem.kind], problem.kind.word)
        else:
            await self._websocket.close()

    async def _run(self, first: Message | None) -> None:
        if first is None:
            conversation = {"id": new_id("conv"), "object": "realtime.conversation"}
            await self._say({"type": "conversation.created", "conversation": conversation})
            with self._service.refusing(PROTOCOL, self._key):
                first = await self._receive(self._service.settings.idle_seconds)
        async with await self._open(first) as stream:
            if first["type"] == _UPDATE:
                await self._say({"type": "transcription_session.updated", "session": self._session})
                first = None
            await side_by_side(self._listen(stream, first), self._tell(stream))

    async def _open(self, first: Message) -> Conversation:
        with self._service.refusing(PROTOCOL, self._key):
            if first["type"] == _UPDATE:
                self._session = sessions.updated(self._session, first.get("session"))
            wanted = self._session
            return await self._service.open(
                self._key, PROTOCOL, sessions.form_of(wanted), model=sessions.model_of(wanted), foreign=FOREIGN_MODELS,
                **sessions.options_of(wanted),
            )  # fmt: skip

    async def _receive(self, patience: float | None = None) -> Message:
        try:
            async with asyncio.timeout(patience):
                message = await self._websocket.receive()
        except TimeoutError:
            raise Problem(Kind.TIMEOUT, f"nothing came for {patience:g} s, which is the limit") from None
        event = object_of(message.get("text") or "")
        name = str(event.get("type"))
        if name not in {_APPEND, _COMMIT, _DONE, _UPDATE}:
            raise invalid(f"event {name[:40]!r} is unknown; choose {_UPDATE}, {_APPEND}, {_COMMIT} or {_DONE}")
        return event

    async def _listen(self, conversation: Conversation, event: Message | None) -> None:
        """What the client sends, up to its `done`."""
        while (event := event or await self._receive())["type"] != _DONE:
            await self._heed(conversation, event)
            event = None
        await conversation.close()

    async def _heed(self, conversation: Conversation, event: Message) -> None:
        match event["type"]:
            case "input_audio_buffer.append":
                await conversation.feed(audio_of(event))
                runtime = event.get("runtime_config")
                if isinstance(runtime, dict) and str(runtime.get("force_eou")).lower() == "true":
                    await conversation.finalize()
            case "input_audio_buffer.commit":
                conversation.keep_alive()
            case "transcription_session.update":
                session = sessions.updated(self._session, event.get("session"))
                if sessions.form_of(session) != sessions.form_of(self._session):
                    raise invalid("the format cannot change in the course of a stream", "input_audio_format")
                await conversation.change(**sessions.changeable(session))
                self._session = session
                await self._say({"type": "transcription_session.updated", "session": session})

    async def _tell(self, conversation: Conversation) -> None:
        async for event in conversation:
            for message in self._messages(event):
                await self._say(message)
        last = self._completed(self._text.strip(), (), last=True)
        await self._say(last | {"usage": shapes.usage(conversation.duration)})

    def _messages(self, event: StreamEvent) -> Iterator[Message]:
        """What an event adds; a segment is an item."""
        if delta := self._deltas.of(event):
            yield {**self._about("delta"), "delta": delta}
        if isinstance(event, Final):
            self._text += (" " if event.segment.spaced else "") + event.segment.text
            yield self._completed(event.segment.text, event.segment.words, last=False)
            self._item = new_id("item")

    def _completed(self, text: str, words: tuple[Word, ...], *, last: bool) -> Message:
        told = [_word(word) for word in words] if sessions.wants_words(self._session) else []
        return {**self._about("completed"), "transcript": text, "is_last_result": last, "words_info": {"words": told}}

    def _about(self, what: str) -> Message:
        return {
            "type": f"conversation.item.input_audio_transcription.{what}",
            "item_id": self._item,
            "content_index": 0,
        }

    async def _say(self, message: Message) -> None:
        await self._websocket.send_text(to_text(message))


def _word(word: Word) -> Message:
    start, end = round(1000 * word.start), round(1000 * word.end)
    return {"word": word.word, "start_time": start, "end_time": end, "confidence": word.confidence, "speaker_tag": 0}
