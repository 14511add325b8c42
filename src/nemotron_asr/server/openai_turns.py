"""What was heard, as items of OpenAI's realtime protocol: one for each turn, which ends by silence or by a commit."""

from collections import deque
from collections.abc import Iterator

from nemotron_asr.events import Final, Partial, SpeechEnded, SpeechStarted
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.conversation import Finalized, StreamEvent
from nemotron_asr.server.objects import Message
from nemotron_asr.server.realtime_messages import new_id
from nemotron_asr.transcript import Transcript


class Turns:
    """Translates the events of the streams of one connection, which follow each other.

    Attributes:
        by_client: the client says when a turn ends.
        logprobs: tell confidences.
        waiting: commits that are not answered yet.
    """

    def __init__(self) -> None:
        self.by_client = self.logprobs = False
        self.waiting = 0
        self._items = deque([new_id("item")])  # the first is being told; behind it are those committed, and one open
        self._previous: str | None = None  # the last one committed
        self._offset = 0.0  # seconds of the streams before this one
        self._told = 0.0  # seconds of this one that belong to items told
        self._just_ended = False  # by silence, and nothing was said since
        self._forget()

    def commit(self) -> Iterator[Message]:
        """The client ends a turn; its transcript follows."""
        self.waiting += 1
        if self.by_client:
            yield self._committed(self._items[-1])
            self._items.append(new_id("item"))

    def of(self, event: StreamEvent) -> Iterator[Message]:
        """The messages of an event."""
        match event:
            case Partial() | Final():
                yield from self._heard(event)
            case SpeechStarted() if not self.by_client:
                start = round(1000 * (self._offset + event.time))
                yield {"type": "input_audio_buffer.speech_started", "audio_start_ms": start, "item_id": self._items[0]}
            case SpeechEnded() if not self.by_client:
                yield from self._ended(event.time)
            case Finalized():
                yield from self._answered(event.time)

    def next_stream(self, duration: float) -> None:
        """The stream, which had so many seconds, is over; another one follows."""
        self._offset, self._told, self.waiting = self._offset + duration, 0.0, 0
        self._items = deque([new_id("item")])
        self._forget()

    def _forget(self) -> None:
        self._finals: list[Final] = []
        self._deltas = shapes.Deltas()

    def _heard(self, event: Partial | Final) -> Iterator[Message]:
        self._just_ended = False
        if delta := self._deltas.of(event):
            yield {**_about(self._items[0], "delta"), "delta": delta}
        if isinstance(event, Final):
            self._finals.append(event)

    def _ended(self, time: float) -> Iterator[Message]:
        """Silence ends the turn."""
        end = round(1000 * (self._offset + time))
        yield {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": end, "item_id": self._items[0]}
        yield self._committed(self._items[0])
        yield from self._completed(time)
        self._just_ended = True

    def _answered(self, time: float) -> Iterator[Message]:
        """All is told that was said before a commit; it ends the turn, unless silence just has."""
        if self.by_client or not self._just_ended:
            if not self.by_client:
                yield self._committed(self._items[0])
            yield from self._completed(time)
        self.waiting -= 1

    def _committed(self, item: str) -> Message:
        previous, self._previous = self._previous, item
        return {"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous}

    def _completed(self, time: float) -> Iterator[Message]:
        """The transcript of the first item; another one comes to be told."""
        segments = tuple(final.segment for final in self._finals)
        transcript = Transcript(max(0.0, round(time - self._told, 3)), None, segments)
        content = shapes.plain(transcript, with_logprobs=self.logprobs)
        yield {**_about(self._items.popleft(), "completed"), "transcript": content.pop("text"), **content}
        self._told = time
        if not self._items:
            self._items.append(new_id("item"))
        self._forget()


def _about(item: str, what: str) -> Message:
    return {"type": f"conversation.item.input_audio_transcription.{what}", "item_id": item, "content_index": 0}
