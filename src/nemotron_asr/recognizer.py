"""Files and arrays: open a stream, feed all of it, close, collect."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from types import TracebackType
from typing import NoReturn, Self, Unpack

import torch
from numpy.typing import ArrayLike

from nemotron_asr.audio import AudioSource
from nemotron_asr.audio.samples import as_array
from nemotron_asr.checkpoint import Checkpoint, load_checkpoint
from nemotron_asr.config import SAMPLE_RATE, ModelConfig
from nemotron_asr.decoding.boosting import Boost
from nemotron_asr.engine import Engine, Session
from nemotron_asr.engine.building import build_model, make_runner
from nemotron_asr.engine.devices import DTYPES, choose_device, choose_dtype
from nemotron_asr.engine.settings import Settings, check_options
from nemotron_asr.errors import AudioError, NemotronError, StreamClosedError
from nemotron_asr.events import Event
from nemotron_asr.languages import AUTO
from nemotron_asr.options import RECORDING_MS, Options, check_count
from nemotron_asr.recordings import Channels, Reading, as_finished, check_channels, check_sources, in_order
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript import Transcript

PIECE = 10 * SAMPLE_RATE
"""Samples of a live packet that are heard before its events are read."""

UNLIMITED = 1_000_000
"""Streams: whoever opens them one by one is not refused."""


def load(model: str | PathLike[str] = "tiny", device: str = "auto", dtype: str = "auto") -> "Recognizer":
    """Load a model.

    Args:
        model: "tiny" (embedded), a Hugging Face name or its short form, a folder, or a `.nemo` file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto", "float32", "bfloat16", "int8" or "float8"; "auto" is bfloat16 on a GPU and, on a CPU, int8 for a
            large model and float32 for a small one.

    Raises:
        CheckpointError: the model is not there, or not one.
        OptionError: an unknown device or dtype.
    """
    where = choose_device(device)
    checkpoint = load_checkpoint(model)
    return Recognizer(checkpoint, where, choose_dtype(dtype, where, checkpoint.config))


class Recognizer:
    """A loaded model. It holds no state of any stream: threads may share it."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self.config: ModelConfig = checkpoint.config
        self.tokenizer: Tokenizer = checkpoint.tokenizer
        self.runner = make_runner(*build_model(checkpoint, device, dtype), float8=dtype == DTYPES["float8"])
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        precision = next((name for name, known in DTYPES.items() if known == dtype), str(dtype))
        self._computes = f"{device}, {precision}"

    def __repr__(self) -> str:
        return f"<Recognizer: {self.config.n_layers} layers of {self.config.d_model}, {self._computes}>"

    def __reduce__(self) -> NoReturn:
        """It has threads, and weights that are a file's.

        Raises:
            TypeError: always.
        """
        raise TypeError("a Recognizer cannot be pickled; load the model in each process")

    @property
    def engine(self) -> Engine:
        """The engine that its recordings and streams share; started when it is first needed."""
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self, max_streams=UNLIMITED)
            return self._engine

    def transcribe(
        self,
        source: AudioSource,
        *,
        channels: Channels = "mix",
        **options: Unpack[Options],
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            source: a path, bytes, a file object, or (array, sample rate).
            channels: "mix" averages them; "separate" hears each alone and names it as the speaker, "channel 0" ...
            options: see `Options`.

        Raises:
            AudioError: the source is not usable audio.
            LanguageError: a language is unknown.
            OptionError: an option is not offered.
        """
        result = Reading(self.engine, source, self._checked(options), channels).run()
        if isinstance(result, NemotronError):
            raise result
        return result

    def transcribe_many(
        self,
        sources: Iterable[AudioSource],
        *,
        batch: int = 8,
        channels: Channels = "mix",
        **options: Unpack[Options],
    ) -> Iterator[Transcript | NemotronError]:
        """Transcribe recordings together, yield in order; one that fails yields its error and the rest go on.

        Arguments as in `transcribe`, and checked before the first recording is opened.

        Args:
            batch: how many recordings step together.
        """
        return in_order(self.transcribe_as_finished(sources, batch=batch, channels=channels, **options))

    def transcribe_as_finished(
        self,
        sources: Iterable[AudioSource],
        *,
        batch: int = 8,
        channels: Channels = "mix",
        **options: Unpack[Options],
    ) -> Iterator[tuple[int, Transcript | NemotronError]]:
        """Like `transcribe_many`, but every result comes as soon as it is there, with the number of its source."""
        check_count("batch", batch)
        check_sources(sources)
        start = partial(Reading, self.engine, settings=self._checked(options), channels=check_channels(channels))
        return as_finished(start, sources, batch)

    def stream(self, *, sample_rate: int = SAMPLE_RATE, **options: Unpack[Options]) -> "LiveTranscription":
        """Open a live stream, to be used as a context manager.

        Args:
            sample_rate: of the samples that will be fed, in Hz.
            options: see `Options`.
        """
        return LiveTranscription(self.engine.open(sample_rate=sample_rate, **options))

    def _checked(self, options: Options) -> Settings:
        """Settings for all recordings of one call, or an error before the first one is opened."""
        wanted: Options = {"latency_ms": RECORDING_MS}
        wanted.update(options)
        return check_options(self, **wanted)


class LiveTranscription:
    """A live stream without an event loop: samples in, events out, as they can be known."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self._ended = True
            self._session.abort()

    def feed(self, samples: ArrayLike) -> list[Event]:
        """Take a packet of any size, float32 in [-1, 1] or int16, mono; return what it made known.

        Raises:
            AudioError: the samples are not usable; the stream has ended.
            StreamClosedError: the stream has ended before.
        """
        self._check_open()
        return [event for piece in _pieces(samples) for event in self._hear(piece)]

    def _hear(self, samples: ArrayLike) -> list[Event]:
        self._session.feed(samples)
        self._session.settle().result()
        return self._session.take()

    def finalize(self) -> list[Event]:
        """End the current segment at once, as where a turn ends; return what it made known. The stream goes on.

        Raises:
            StreamClosedError: the stream has ended before.
        """
        self._check_open()
        self._session.finalize().result()
        return self._session.take()

    def set_language(self, language: str = AUTO, languages: Sequence[str] = ()) -> None:
        """Listen for another language from the next chunk on, see `Session.set_language`."""
        self._session.set_language(language, languages)

    def set_latency(self, latency_ms: int) -> None:
        """Look ahead less or further from the next chunk on, see `Session.set_latency`."""
        self._session.set_latency(latency_ms)

    def set_boost(self, boost: Boost) -> None:
        """Take other phrases for likely from the next chunk on, see `Session.set_boost`."""
        self._session.set_boost(boost)

    def finish(self) -> list[Event]:
        """End the stream and return the rest.

        Raises:
            StreamClosedError: the stream has ended before.
        """
        self._check_open()
        self._ended = True
        self._session.close()
        return list(self._session)

    def _check_open(self) -> None:
        if self._ended:
            raise StreamClosedError("this stream has ended; open a new one to go on")


def _pieces(samples: ArrayLike) -> Iterator[ArrayLike]:
    """A packet in parts, between whose events somebody reads; what is no packet is for the session to refuse."""
    try:
        packet = as_array(samples)
    except AudioError:
        yield samples
        return
    if packet.ndim != 1 or len(packet) <= PIECE:
        yield samples
        return
    for start in range(0, len(packet), PIECE):
        yield packet[start : start + PIECE]
