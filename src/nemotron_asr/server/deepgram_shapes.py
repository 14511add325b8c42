"""Messages as Deepgram has them. Times are in seconds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from nemotron_asr import __version__
from nemotron_asr.events import Final, Partial, Segment, SpeechEnded, SpeechStarted, Word
from nemotron_asr.server.conversation import Finalized, RequestedFinal, StreamEvent
from nemotron_asr.server.deepgram_query import ListenRequest
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.transcript import Transcript
from nemotron_asr.transcript.words import ends_sentence, is_spoken

_CODES = {
    Kind.INVALID: "Bad Request", Kind.UNAUTHENTICATED: "INVALID_AUTH", Kind.NOT_FOUND: "Bad Request",
    Kind.TOO_LARGE: "PAYLOAD_TOO_LARGE", Kind.TOO_MANY: "TOO_MANY_REQUESTS", Kind.UNAVAILABLE: "SERVICE_UNAVAILABLE",
}  # fmt: skip


def error(problem: Problem, request_id: str) -> dict[str, Any]:
    """A problem, as an answer to HTTP."""
    code = _CODES.get(problem.kind, problem.kind.word.upper())
    return {"err_code": code, "err_msg": str(problem), "request_id": request_id}


def model_info(name: str) -> dict[str, str]:
    """A model."""
    return {"name": name, "version": __version__, "arch": "nemotron-asr"}


def model_uuid(name: str) -> str:
    """A model's number, which is made from its name."""
    return str(uuid5(NAMESPACE_URL, f"nemotron-asr:{name}"))


def words(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Words as they are said, and as they are written."""
    return [_word(word, segment) for segment in segments for word in segment.words]


def _word(word: Word, segment: Segment) -> dict[str, Any]:
    plain = "".join(character for character in word.word if is_spoken(character) or character in "'\u2019-")
    content = {
        "word": plain.lower(), "start": word.start, "end": word.end, "confidence": word.confidence,
        "punctuated_word": word.word,
    }  # fmt: skip
    return content | ({"language": segment.language} if segment.language else {})


def alternative(text: str, segments: Sequence[Segment]) -> dict[str, Any]:
    """What was said in segments; those languages first that most words are in."""
    count = Counter[str]()
    for segment in segments:
        count.update({segment.language: len(segment.words)} if segment.language else {})
    said = [word.confidence for segment in segments for word in segment.words]
    content = {
        "transcript": text,
        "confidence": round(sum(said) / len(said), 4) if said else 0.0,
        "words": words(segments),
    }
    languages = [language for language, _ in count.most_common()]
    return content | ({"languages": languages} if languages else {})  # clients take the first, if there is a list


def metadata(request_id: str, sha256: str, duration: float, channels: int) -> dict[str, Any]:
    """What was heard."""
    created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "transaction_key": "deprecated", "request_id": request_id, "sha256": sha256, "created": created,
        "duration": duration, "channels": channels,
    }  # fmt: skip


def recording(
    transcripts: Sequence[Transcript], model: str, request_id: str, sha256: str, wanted: ListenRequest
) -> dict[str, Any]:
    """The answer to a recording, whose channels have a transcript each."""
    duration, uuid = max(transcript.duration for transcript in transcripts), model_uuid(model)
    results: dict[str, Any] = {"channels": [_channel(transcript, wanted) for transcript in transcripts]}
    if wanted.utterances:
        results["utterances"] = [
            {"start": one.start, "end": one.end, "channel": channel, "id": f"{request_id}-{channel}-{number}"}
            | alternative(one.text, [one])
            for channel, transcript in enumerate(transcripts)
            for number, one in enumerate(transcript.segments)
        ]
    about = metadata(request_id, sha256, duration, len(transcripts))
    return {"metadata": {**about, "models": [uuid], "model_info": {uuid: model_info(model)}}, "results": results}


def _channel(transcript: Transcript, wanted: ListenRequest) -> dict[str, Any]:
    best = alternative(transcript.text, transcript.segments)
    if wanted.paragraphs:
        best["paragraphs"] = _paragraphs(transcript.segments)
    content: dict[str, Any] = {"alternatives": [best]}
    return content | ({"detected_language": transcript.language} if transcript.language else {})


def _paragraphs(segments: Sequence[Segment]) -> dict[str, Any]:
    """Segments, each as a paragraph of its own."""
    return {
        "transcript": "\n" + "\n\n".join(segment.text for segment in segments),
        "paragraphs": [
            {"sentences": _sentences(one), "num_words": len(one.words), "start": one.start, "end": one.end}
            for one in segments
        ],
    }


def _sentences(segment: Segment) -> list[dict[str, Any]]:
    sentences, begin, place, first = list[dict[str, Any]](), 0, 0, 0
    for number, word in enumerate(segment.words, 1):
        place = segment.text.index(word.word, place) + len(word.word)
        if ends_sentence(word.word) or number == len(segment.words):
            text = segment.text[begin:place].strip()
            sentences.append({"text": text, "start": segment.words[first].start, "end": word.end})
            begin, first = place, number
    return sentences


@dataclass
class Teller:
    """What the events of one channel are in Deepgram's words.

    Attributes:
        request_id, model: in every result.
        channel: the channel and how many there are.
        wanted: what the client wants to know.
    """

    request_id: str
    model: str
    channel: tuple[int, int]
    wanted: ListenRequest
    _start: float = 0.0  # of what is not final yet
    _last_word: float = 0.0
    _ended: bool = False  # the last final said that speech has ended
    _requested: bool = False  # it was asked for
    _due: float | None = None  # audio at which the utterance has ended, if nobody speaks until then

    def of(self, event: StreamEvent, following: StreamEvent | None, duration: float) -> Iterator[dict[str, Any]]:
        """The messages of an event.

        Args:
            event: what happened.
            following: what happened at the same time, if something did.
            duration: seconds of audio fed so far.
        """
        match event:
            case SpeechStarted():
                yield from self._resumed(event.time)
            case Partial() if self.wanted.interim:
                yield self._results(max(event.time, event.segment.end), event.segment)
            case Final():
                yield self._final(event, ended=isinstance(following, SpeechEnded))
            case SpeechEnded():
                yield from self._speech_ended(event.time, duration)
            case Finalized(segment=None):
                yield self._results(event.time, is_final=True, from_finalize=True)

    def passed(self, duration: float) -> Iterator[dict[str, Any]]:
        """What is to be said when so many seconds of audio were fed."""
        if self._due is not None and duration >= self._due:
            self._due = None
            yield {"type": "UtteranceEnd", "channel": list(self.channel), "last_word_end": self._last_word}

    def finish(self, duration: float) -> Iterator[dict[str, Any]]:
        """What is to be said at the end."""
        if self._due is not None and self.wanted.utterance_end is not None:
            self._due = self._last_word + self.wanted.utterance_end
            yield from self.passed(duration)

    def _resumed(self, time: float) -> Iterator[dict[str, Any]]:
        yield from self.finish(time)
        self._due = None
        if self.wanted.vad_events:
            yield {"type": "SpeechStarted", "channel": list(self.channel), "timestamp": time}

    def _final(self, event: Final, *, ended: bool) -> dict[str, Any]:
        self._last_word = event.segment.end
        self._requested = isinstance(event, RequestedFinal)
        self._ended = ended and self.wanted.endpointing
        return self._results(
            event.segment.end, event.segment, is_final=True, speech_final=self._ended, from_finalize=self._requested
        )

    def _speech_ended(self, time: float, duration: float) -> Iterator[dict[str, Any]]:
        """Say so, unless the last final did; from now on the utterance may have ended."""
        if self.wanted.endpointing and not self._ended:
            yield self._results(time, is_final=True, speech_final=True)
        if self.wanted.utterance_end is not None:
            silent = 0.0 if self._requested else self.wanted.pause
            self._due = max(duration - silent, self._last_word) + self.wanted.utterance_end
            yield from self.passed(duration)
        self._ended = self._requested = False

    def _results(
        self, end: float, segment: Segment | None = None, *,
        is_final: bool = False, speech_final: bool = False, from_finalize: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        start = self._start
        end = max(end, start)
        if is_final:
            self._start = end
        said = alternative(segment.text, [segment]) if segment else alternative("", [])
        return {
            "type": "Results", "channel_index": list(self.channel), "start": start, "duration": round(end - start, 3),
            "is_final": is_final, "speech_final": speech_final, "from_finalize": from_finalize,
            "channel": {"alternatives": [said]},
            "metadata": {
                "request_id": self.request_id, "model_info": model_info(self.model),
                "model_uuid": model_uuid(self.model),
            },
        }  # fmt: skip
