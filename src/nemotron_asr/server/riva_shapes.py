"""What Riva's messages mean: a configuration -> options of a stream; segments -> results.

Not heard: enable_automatic_punctuation and verbatim_transcripts (a transcript is what the model writes), thresholds of
endpointing. Refused: speakers, the profanity filter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nemotron_asr.audio.pcm import COMPANDED
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.engine.settings import WIDEST_BEAM
from nemotron_asr.events import Final, Partial, Segment, Word
from nemotron_asr.languages import AUTO as ANY_LANGUAGE
from nemotron_asr.server.checks import OURS_AND_PAUSE, flag, language_asked, numbers
from nemotron_asr.server.conversation import Finalized, StreamEvent
from nemotron_asr.server.formats import AUTO, CONTAINER, AudioFormat, looks_like_container
from nemotron_asr.server.problems import invalid
from nemotron_asr.server.riva_messages import Alternative, Proto, Result, StreamingResult, WordInfo
from nemotron_asr.server.wav import is_wav
from nemotron_asr.server.weights import from_riva

FOREIGN_MODELS = ("*parakeet*", "*nemotron*", "*conformer*", "*canary*", "*whisper*", "riva*")
"""Names of models that Riva's clients are set up for."""

_ENCODINGS = {0: AUTO, 1: AUTO, 2: CONTAINER, 3: "mulaw", 4: CONTAINER, 20: "alaw"}
"""AudioEncoding -> what we call it. Samples are looked at: clients send WAV files, header and all, as LINEAR_PCM."""


@dataclass(frozen=True)
class RecognitionRequest:
    """What a configuration asks for.

    Attributes:
        form: what the client says of its audio.
        channels: that the client says there are; 0: nothing.
        apart: every channel is heard by itself.
        words: answers have words with times.
        most: alternatives of a final at most.
    """

    form: AudioFormat
    model: str
    channels: int
    apart: bool
    words: bool
    most: int
    options: dict[str, Any]

    @property
    def looks(self) -> bool:
        """Whether the form is known only when audio comes: what is said to be companded may be a WAV file."""
        return self.form.encoding in COMPANDED

    def is_file(self, head: bytes) -> bool:
        """Whether audio that begins like this says itself what it is."""
        encoding = self.form.encoding
        return encoding == CONTAINER or is_wav(head) or (encoding == AUTO and looks_like_container(head))

    def forms(self, head: bytes, channels: int = 0) -> list[AudioFormat]:
        """What to hear, where the audio begins like this.

        Args:
            head: the first bytes.
            channels: that are in it; 0: as many as the client says.

        Raises:
            Problem: each is to be heard by itself, and nobody says how many there are.
        """
        count = channels or self.channels
        if self.apart and not count:
            message = "enable_separate_recognition_per_channel needs audio_channel_count"
            raise invalid(message, "audio_channel_count")
        form = replace(self.form, encoding=AUTO if is_wav(head) else self.form.encoding, channels=count or 1)
        each = range(count) if self.apart and count > 1 else (None,)
        return [replace(form, channel=channel) for channel in each]


def wish_of(config: Proto) -> RecognitionRequest:
    """What a `RecognitionConfig` asks for.

    Raises:
        Problem: something that is not offered.
    """
    if config.encoding not in _ENCODINGS:
        raise invalid(f"encoding {config.encoding} is unknown; choose {', '.join(map(str, _ENCODINGS))}", "encoding")
    if config.diarization_config.enable_speaker_diarization:
        raise invalid("speaker diarization is not offered", "diarization_config")
    if config.profanity_filter:
        raise invalid("the profanity filter is not offered", "profanity_filter")
    channels = config.audio_channel_count
    return RecognitionRequest(
        AudioFormat(_ENCODINGS[config.encoding], config.sample_rate_hertz or SAMPLE_RATE, channels or 1),
        config.model,
        channels,
        config.enable_separate_recognition_per_channel,
        config.enable_word_time_offsets,
        max(1, config.max_alternatives),
        _options(config),
    )


def _options(config: Proto) -> dict[str, Any]:
    custom = dict(config.custom_configuration)  # whose other names are Riva's own, which mean nothing here
    options = _languages(config.language_code) | numbers(custom, OURS_AND_PAUSE)
    if "vad" in custom:
        options["vad"] = flag(custom, "vad")
    silence = config.endpointing_config.stop_history or config.endpointing_config.stop_history_eou
    if silence > 0:
        options["endpointing_ms"] = silence
    if config.max_alternatives > 1:
        options["beam"] = min(config.max_alternatives, WIDEST_BEAM)
    boost = {phrase: from_riva(each.boost) for each in config.speech_contexts for phrase in each.phrases}
    return options | ({"boost": boost} if boost else {})


def _languages(code: str) -> dict[str, Any]:
    """Of several, separated by commas, the model finds out which."""
    if "," in code:
        return {"language": ANY_LANGUAGE, "languages": [one.strip() for one in code.split(",")]}
    return {"language": language_asked(code)}


def streaming_result(event: StreamEvent, channel: int, wanted: RecognitionRequest) -> Proto | None:
    """What an event is in an answer, if it is in one: within an utterance it is all of it so far."""
    match event:
        case Partial() | Final():
            final, segment = isinstance(event, Final), event.segment
            # Whether the next one will want a space before it, nobody knows yet: this one did.
            alternatives = _alternatives(segment, wanted, space=final and segment.spaced)
        case Finalized(segment=None):
            final, alternatives = True, [Alternative()]  # who asked for the words so far is answered: there are none
        case _:
            return None
    # What has been said does not change any more, so that it is as stable as can be.
    return StreamingResult(
        alternatives=alternatives, is_final=final, stability=1.0, channel_tag=channel, audio_processed=event.time
    )


def results(segments: Sequence[Segment], duration: float, channel: int, wanted: RecognitionRequest) -> list[Proto]:
    """What was said in a recording."""
    spaces = [*(segment.spaced for segment in segments), False][1:]
    return [
        Result(alternatives=_alternatives(segment, wanted, space=space), channel_tag=channel, audio_processed=duration)
        for segment, space in zip(segments, spaces, strict=True)
    ]


def _alternatives(segment: Segment, wanted: RecognitionRequest, *, space: bool) -> list[Proto]:
    """What was said, and what may have been said instead, the likeliest first."""
    said = [segment, *(other.segment for other in segment.alternatives)][: wanted.most]
    return [_alternative(each, wanted, space=space) for each in said]


def _alternative(segment: Segment, wanted: RecognitionRequest, *, space: bool) -> Proto:
    """Clients put finals together as they are: a space behind one separates it from the next."""
    language = [segment.language] if segment.language else []
    words = [_word(word) for word in segment.words] if wanted.words else []
    text = segment.text + (" " if space else "")
    return Alternative(transcript=text, confidence=segment.confidence, words=words, language_code=language)


def _word(word: Word) -> Proto:
    start, end, language = round(1000 * word.start), round(1000 * word.end), word.language or ""
    return WordInfo(start_time=start, end_time=end, word=word.word, confidence=word.confidence, language_code=language)
