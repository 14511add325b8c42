"""How a step executes: samples of many streams in, their tokens out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nemotron_asr.decoding.greedy import Emission, greedy
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.stream import Stream
from nemotron_asr.features import LogMel, window_start
from nemotron_asr.model import NemotronASR


class Runner:
    """Runs the model eagerly. Holds no state of streams: several lanes and threads may share one."""

    def __init__(self, model: NemotronASR, log_mel: LogMel) -> None:
        self.model = model.eval()
        self.log_mel = log_mel
        self.device = model.transducer.head.bias.device
        self.dtype = model.transducer.head.bias.dtype
        self._distances: dict[int, list[Tensor]] = {}

    @torch.inference_mode()
    def step(self, pool: Pool, streams: Sequence[Stream], frames: int, chunk: int) -> list[list[Emission]]:
        """Advance every stream by `frames` encoder frames.

        Args:
            pool: where the streams' states live.
            streams: each with that many frames available, or closed.
            frames: a multiple of `chunk`.
            chunk: lookahead + 1.

        Returns:
            Per stream its tokens, `frame` counted from the start of the stream.
        """
        rows = self._tensor([stream.row for stream in streams])
        valid = self._tensor([max(0, min(frames, stream.available)) for stream in streams])
        mel_end = self._tensor([stream.mel_end for stream in streams])
        prompts = self._tensor([stream.prompt for stream in streams])
        before = [stream.t for stream in streams]
        mel = self._mel(streams, frames)
        encoder_state, decoder_state = pool.gather(rows)
        distances = self._kept_distances(encoder_state.k.shape[3], frames)
        encoded, encoder_state = self.model.encoder(mel, mel_end, encoder_state, chunk, distances)
        fused = self.model.prompt(encoded, prompts)
        said, decoder_state = greedy(self.model.transducer, fused, valid, decoder_state)
        pool.scatter(rows, encoder_state, decoder_state)
        return [
            [Emission(e.token, t + e.frame, e.logprob) for e in emissions]
            for t, emissions in zip(before, said, strict=True)
        ]

    def _mel(self, streams: Sequence[Stream], frames: int) -> Tensor:
        start = self._tensor([window_start(stream.t) for stream in streams])
        end = self._tensor([stream.samples_end for stream in streams])
        windows = np.stack([stream.take(frames) for stream in streams])
        mel: Tensor = self.log_mel(torch.from_numpy(windows).to(self.device), start, end)
        return mel.to(self.dtype)

    def _kept_distances(self, history: int, frames: int) -> list[Tensor]:
        if frames not in self._distances:
            self._distances[frames] = self.model.encoder.distances(history, frames)
        return self._distances[frames]

    def _tensor(self, values: list[int]) -> Tensor:
        return torch.tensor(values, device=self.device)
