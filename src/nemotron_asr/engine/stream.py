"""One stream: the samples it still needs and the clock it has reached. Knows nothing of tensors."""

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import StreamClosedError
from nemotron_asr.features import mel_frames, window_samples, window_start
from nemotron_asr.model import encoder_frames

Samples = NDArray[np.float32]

UNKNOWN_END = 2**40
"""The length of an utterance that still goes on, in samples or frames: two years."""


class Stream:
    """Audio in, windows of samples out.

    Attributes:
        t: the next encoder frame.
        prompt: the language's prompt row.
        row: where its state lives in the pool.
    """

    def __init__(self, row: int, prompt: int) -> None:
        self.row = row
        self.prompt = prompt
        self.t = 0
        self.closed = False
        self._blocks: list[Samples] = []
        self._base = 0  # time of the first sample kept
        self._fed = 0  # samples ever fed

    @property
    def seconds(self) -> float:
        """Audio fed so far."""
        return self._fed / SAMPLE_RATE

    @property
    def decoded(self) -> int:
        """Encoder frames taken so far that exist: the last step may reach beyond the end."""
        return self.t + min(0, self.available) if self.closed else self.t

    @property
    def samples_end(self) -> int:
        """Length of the utterance in samples, if known."""
        return self._fed if self.closed else UNKNOWN_END

    @property
    def mel_end(self) -> int:
        """Length of the utterance in mel frames, if known."""
        return mel_frames(self._fed) if self.closed else UNKNOWN_END

    @property
    def available(self) -> int:
        """Encoder frames that can be computed now; once closed, those that are left."""
        if self.closed:
            return encoder_frames(mel_frames(self._fed)) - self.t
        return max(
            0, (self._fed - window_start(self.t) - window_samples(1)) // (window_samples(2) - window_samples(1)) + 1
        )

    def feed(self, samples: Samples) -> None:
        """Append mono 16 kHz audio.

        Raises:
            StreamClosedError: the stream was closed.
        """
        if self.closed:
            raise StreamClosedError("this stream has ended; open a new one to go on")
        if len(samples):
            self._blocks.append(samples)
            self._fed += len(samples)

    def close(self) -> None:
        """No more audio will come."""
        self.closed = True

    def take(self, frames: int) -> Samples:
        """The window of the next `frames` encoder frames, with the sample before it, and move on behind them.

        What lies before the start of the stream or after what was fed is zero.
        """
        first, length = window_start(self.t) - 1, 1 + window_samples(frames)
        kept = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        window = np.zeros(length, np.float32)
        lead = max(0, self._base - first)
        body = kept[max(0, first - self._base) :][: length - lead]
        window[lead : lead + len(body)] = body
        self.t += frames
        self._keep_from(kept, window_start(self.t) - 1)
        return window

    def _keep_from(self, kept: Samples, time: int) -> None:
        drop = min(max(0, time - self._base), len(kept))
        self._base += drop
        self._blocks = [kept[drop:].copy()]  # a copy, so that the audio behind it can be freed
