"""Files and arrays: open a stream, feed all of it, close, collect."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from os import PathLike, fspath
from types import TracebackType
from typing import Self

import torch
from numpy.typing import ArrayLike

from nemotron_asr.audio import AudioSource, Resampler, read_blocks
from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, place_weights, skeleton
from nemotron_asr.config import SAMPLE_RATE, ModelConfig, chunk_frames
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.lane import STEP_FRAMES, Lane
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.stream import Samples, Stream
from nemotron_asr.errors import LanguageError, NemotronError, OptionError, StreamClosedError
from nemotron_asr.events import Event, Final
from nemotron_asr.features import LogMel
from nemotron_asr.languages import AUTO, canonical, resolve
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript import Transcript, TranscriptBuilder, collect

AHEAD_PER_ROW = 4
"""Recordings per row of a lane that may be opened ahead of the oldest that still runs."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(model: str | PathLike[str] = "tiny", device: str = "auto", dtype: str = "auto") -> "Recognizer":
    """Load a model.

    Args:
        model: "tiny" (embedded), a Hugging Face name or its short form, a folder, or a `.nemo` file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto", "float32" or "bfloat16"; "auto" is bfloat16 on a GPU, float32 elsewhere.

    Raises:
        CheckpointError: the model is not there, or not one.
        OptionError: an unknown device or dtype.
    """
    where = choose_device(device)
    return Recognizer(load_checkpoint(model), where, choose_dtype(dtype, where))


def choose_device(name: str) -> torch.device:
    """The torch device of an option's value."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
        raise OptionError(f"device {name!r} is unknown; choose auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("device 'mps' is not there: this machine has no Apple GPU that torch can use")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {name!r} is not there: this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The torch dtype of an option's value."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise OptionError(f"dtype {name!r} is not offered; choose auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def build_model(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> tuple[NemotronASR, LogMel]:
    """The model and its front end with a checkpoint's weights, in evaluation mode; see `place_weights`."""
    model = skeleton(checkpoint.config)
    place_weights(model, checkpoint.weights, device, dtype)
    log_mel = LogMel(checkpoint.config)
    log_mel.load_state_dict({**log_mel.state_dict(), **checkpoint.front_end})
    return model.eval().requires_grad_(requires_grad=False), log_mel.to(device)


class Recognizer:
    """A loaded model. It holds no state of any stream: threads may share it."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self.config: ModelConfig = checkpoint.config
        self.tokenizer: Tokenizer = checkpoint.tokenizer
        self.runner = Runner(*build_model(checkpoint, device, dtype))

    def transcribe(
        self,
        source: AudioSource,
        *,
        language: str = AUTO,
        latency_ms: int = 1120,
        keep_language_tags: bool = False,
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            source: a path, bytes, a file object, or (array, sample rate).
            language: a locale or alias, or "auto" to have the model find out.
            latency_ms: 80, 160, 320, 560 or 1120; more lookahead gives better words.
            keep_language_tags: leave the model's language tags in the text.

        Raises:
            AudioError: the source is not usable audio.
            LanguageError: the language is unknown.
            OptionError: the latency is not offered.
        """
        options = _Options(self, language, latency_ms, keep_language_tags)
        ((_, result),) = _as_finished([source], options, rows=1)
        if isinstance(result, NemotronError):
            raise result
        return result

    def transcribe_many(
        self,
        sources: Iterable[AudioSource],
        *,
        language: str = AUTO,
        latency_ms: int = 1120,
        keep_language_tags: bool = False,
        batch: int = 8,
    ) -> Iterator[Transcript | NemotronError]:
        """Transcribe recordings together, yield in order; one that fails yields its error and the rest go on.

        Arguments as in `transcribe`, and checked before the first recording is opened.

        Args:
            batch: how many recordings step together.
        """
        finished = self.transcribe_as_finished(
            sources, language=language, latency_ms=latency_ms, keep_language_tags=keep_language_tags, batch=batch
        )
        return _in_order(finished)

    def transcribe_as_finished(
        self,
        sources: Iterable[AudioSource],
        *,
        language: str = AUTO,
        latency_ms: int = 1120,
        keep_language_tags: bool = False,
        batch: int = 8,
    ) -> Iterator[tuple[int, Transcript | NemotronError]]:
        """Like `transcribe_many`, but every result comes as soon as it is there, with the number of its source."""
        if batch < 1:
            raise OptionError(f"batch {batch} is too small; it must be at least 1")
        return _as_finished(sources, _Options(self, language, latency_ms, keep_language_tags), batch)

    def stream(
        self,
        *,
        language: str = AUTO,
        latency_ms: int = 320,
        sample_rate: int = SAMPLE_RATE,
        keep_language_tags: bool = False,
    ) -> "LiveTranscription":
        """Open a live stream, to be used as a context manager.

        Args:
            language: a locale or alias, or "auto".
            latency_ms: 80, 160, 320, 560 or 1120.
            sample_rate: of the samples that will be fed, in Hz.
            keep_language_tags: leave the model's language tags in the text.
        """
        options = _Options(self, language, latency_ms, keep_language_tags)
        return LiveTranscription(_Utterance(options, options.lane(rows=1)), Resampler(sample_rate))

    def prompt_id(self, language: str) -> int:
        """The prompt row of a language; 0 for a model that takes no prompt, which is an English one.

        Raises:
            LanguageError: the language is unknown, or not the model's.
        """
        if not self.config.n_prompts:
            if canonical(language) != AUTO and not canonical(language).startswith("en"):
                raise LanguageError(f"language {language!r} is not this model's; it takes auto or English")
            return 0
        return resolve(language, self.config.prompts)


class _Options:
    """What holds for all utterances of one call, checked."""

    def __init__(self, recognizer: Recognizer, language: str, latency_ms: int, keep_language_tags: bool) -> None:
        self.prompt = recognizer.prompt_id(language)
        self.language = canonical(language, recognizer.config.prompts)
        self.chunk = chunk_frames(latency_ms)
        self.keep_language_tags = keep_language_tags
        self.recognizer = recognizer

    def lane(self, rows: int) -> Lane:
        return Lane(self.recognizer.runner, self.chunk, rows)

    def builder(self) -> TranscriptBuilder:
        return TranscriptBuilder(self.recognizer.tokenizer, self.language, self.keep_language_tags)


class _Utterance:
    """One stream on a lane and the builder of its transcript."""

    def __init__(self, options: _Options, lane: Lane) -> None:
        self.lane = lane
        self.stream = lane.open(options.prompt)
        self.builder = options.builder()

    @property
    def duration(self) -> float:
        return round(self.stream.seconds, 3)

    def push(self, emissions: list[Emission]) -> Iterator[Event]:
        """Hand the tokens of a step to the builder."""
        duration = self.duration if self.stream.closed else math.inf
        yield from self.builder.push(emissions, self.stream.decoded, duration)

    def advance(self) -> Iterator[Event]:
        """Everything that can be known now; for a stream that has its lane to itself."""
        for _, emissions in self.lane.drain():
            yield from self.push(emissions)

    def finish(self) -> Iterator[Event]:
        """The end of a stream whose frames are all decoded."""
        yield from self.builder.finish(self.duration)


class _Recording:
    """A file on its way through a lane that it shares with others."""

    def __init__(self, number: int, source: AudioSource, options: _Options, lane: Lane) -> None:
        self.number, self.source, self.options = number, source, options
        self.utterance = _Utterance(options, lane)
        self._blocks = read_blocks(source)
        self._finals: list[Final] = []
        self._error: NemotronError | None = None

    def read(self) -> None:
        """Feed audio until a full step is there or the file ends."""
        stream = self.utterance.stream
        try:
            while not stream.closed and stream.available < STEP_FRAMES:
                block = next(self._blocks, None)
                if block is None:
                    stream.close()
                else:
                    stream.feed(block)
        except NemotronError as error:
            self._error = error

    def push(self, emissions: list[Emission]) -> None:
        """Take the tokens of a step."""
        self._hold(self.utterance.push(emissions))

    def finish(self) -> Transcript | NemotronError | None:
        """The result, and the row given back, once all frames are decoded or nothing more can be read."""
        stream = self.utterance.stream
        if self._error is None and not (stream.closed and stream.available <= 0):
            return None
        self.utterance.lane.leave(stream)
        return self._error or self._transcript()

    def _hold(self, events: Iterator[Event]) -> None:
        self._finals += [event for event in events if isinstance(event, Final)]

    def _transcript(self) -> Transcript:
        self._hold(self.utterance.finish())
        detected, language = self.utterance.builder.detected, self.options.language
        transcript = collect(self._finals, self.utterance.duration, detected, language)
        return replace(transcript, file=fspath(self.source) if isinstance(self.source, (str, PathLike)) else None)


def _as_finished(
    sources: Iterable[AudioSource], options: _Options, rows: int
) -> Iterator[tuple[int, Transcript | NemotronError]]:
    """Keep a lane full of recordings; none is opened far ahead of one that still runs."""
    waiting, lane = enumerate(sources), options.lane(rows)
    running: dict[Stream, _Recording] = {}
    upcoming = next(waiting, None)
    while running or upcoming:
        oldest = min((recording.number for recording in running.values()), default=math.inf)
        while upcoming and lane.free and upcoming[0] < oldest + AHEAD_PER_ROW * rows:
            recording = _Recording(*upcoming, options, lane)
            running[recording.utterance.stream] = recording
            oldest, upcoming = min(oldest, recording.number), next(waiting, None)
        for recording in running.values():
            recording.read()
        for stream, emissions in lane.step():
            running[stream].push(emissions)
        for stream, recording in list(running.items()):
            if (result := recording.finish()) is not None:
                del running[stream]
                yield recording.number, result


def _in_order(
    finished: Iterator[tuple[int, Transcript | NemotronError]],
) -> Iterator[Transcript | NemotronError]:
    """Hold results back until all before them are there."""
    held: dict[int, Transcript | NemotronError] = {}
    due = 0
    for number, result in finished:
        held[number] = result
        while due in held:
            yield held.pop(due)
            due += 1


class LiveTranscription:
    """A live stream: samples in, events out, as they can be known."""

    def __init__(self, utterance: _Utterance, resampler: Resampler) -> None:
        self._utterance, self._resampler = utterance, resampler
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True

    def feed(self, samples: ArrayLike) -> list[Event]:
        """Take a packet of any size, float32 in [-1, 1] or int16, mono; return what it made known.

        Raises:
            AudioError: the samples are not usable.
            StreamClosedError: the stream has ended.
        """
        if self._ended:
            raise StreamClosedError("this stream has ended; open a new one to go on")
        return self._hear(self._resampler.feed(samples))

    def finish(self) -> list[Event]:
        """End the stream and return the rest.

        Raises:
            StreamClosedError: the stream has ended before.
        """
        events = self._hear(self._resampler.finish())
        self._ended = True
        self._utterance.stream.close()
        return [*events, *self._utterance.advance(), *self._utterance.finish()]

    def _hear(self, samples: Samples) -> list[Event]:
        self._utterance.stream.feed(samples)
        return list(self._utterance.advance())
