"""The samples that a stream still needs."""

import numpy as np

from nemotron_asr.audio.samples import Samples


class Recent:
    """The last samples of a stream; whatever lies before or after them is zero.

    Attributes:
        end: samples ever appended.
    """

    def __init__(self) -> None:
        self.end = 0
        self._begin = 0  # time of the first sample kept
        self._blocks: list[Samples] = []

    def append(self, samples: Samples) -> None:
        """What comes next."""
        self._blocks.append(samples)
        self.end += len(samples)

    def forget(self, sample: int) -> None:
        """Drop what lies before a sample."""
        kept = self._joined()
        drop = min(max(0, sample - self._begin), len(kept))
        self._begin += drop
        rest = kept[drop:]
        wasteful = rest.base is not None and rest.base.size > 2 * rest.size  # a copy lets go of the audio behind it
        self._blocks = [rest.copy() if wasteful else rest]

    def window(self, first: int, length: int) -> Samples:
        """So many samples from one on."""
        window = np.zeros(length, np.float32)
        lead = max(0, self._begin - first)
        body = self._joined()[max(0, first - self._begin) :][: length - lead]
        window[lead : lead + len(body)] = body
        return window

    def __len__(self) -> int:
        return self.end - self._begin

    def _joined(self) -> Samples:
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0] if self._blocks else np.zeros(0, np.float32)
