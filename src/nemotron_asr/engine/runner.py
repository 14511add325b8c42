"""How a step executes: samples of many streams in, their tokens out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nemotron_asr.audio.samples import Samples
from nemotron_asr.config import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE
from nemotron_asr.decoding.beam import GREEDY, Beam, beam
from nemotron_asr.decoding.bias import Bias
from nemotron_asr.decoding.boosting import NO_BOOST, BoostTree
from nemotron_asr.decoding.greedy import Emission, greedy
from nemotron_asr.engine.lstm import CellLSTM
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.scheduler import MOST_ROWS
from nemotron_asr.engine.stream import UNKNOWN_END, Stream, Target, Work
from nemotron_asr.features import LogMel, mel_frames, window_samples, window_start
from nemotron_asr.model import EncoderState, NemotronASR


@dataclass(frozen=True)
class Part:
    """What one stream brings into a step, taken from it beforehand so that it may go on meanwhile.

    Attributes:
        row: where its state lives.
        t: its clock, in encoder frames, as the model counts them: from `origin` on.
        target: the language.
        boost: the phrases that are likely.
        beam: how its tokens are searched for.
        first: frames of the step that were decoded before, by a flush.
        valid: frames of the step that exist.
        end: length of the audio in samples from `origin` on, as this step sees it.
        flush: the encoder's new state is not kept.
        window: samples, see `Stream.window`.
        last: no frame that exists follows those of the step.
        origin: frames of the stream before the model's time zero.
        anew: the first step from there on.
        ends: the frames of the stream before which the step's chunks end; a flush has none.
    """

    row: int
    t: int
    target: Target
    first: int
    valid: int
    end: int
    flush: bool
    window: Samples
    boost: BoostTree = NO_BOOST
    beam: Beam = GREEDY
    last: bool = False
    origin: int = 0
    anew: bool = False
    ends: Sequence[int] = ()

    @classmethod
    def of(cls, stream: Stream, work: Work, frames: int) -> "Part":
        """The next frames of a stream, which does not move yet."""
        left = stream.frames_until(work.end)
        valid = max(0, min(frames, left))
        first = max(0, stream.decoded - stream.t)
        window = stream.window(frames)
        end = work.end if work.end == UNKNOWN_END else work.end - FRAME_SAMPLES * stream.origin
        ends = () if work.flush else range(stream.t + work.chunk, stream.t + frames + 1, work.chunk)
        return cls(
            stream.row, stream.t - stream.origin, stream.target, first, valid, end, work.flush, window,
            stream.boost, stream.beam, left <= frames, stream.origin, stream.anew, ends,
        )  # fmt: skip

    @property
    def duration(self) -> float:
        """Seconds of audio in the stream, infinite while that is not known."""
        return math.inf if self.end == UNKNOWN_END else round(self.end / SAMPLE_RATE + self.origin * FRAME_SECONDS, 3)


@dataclass(frozen=True)
class StepResult:
    """What a step found in one stream.

    Attributes:
        said: the new tokens, `frame` counted from the start of the stream.
        settled: frames from the start of the stream before which no more will be said.
    """

    said: list[Emission]
    settled: int

    @classmethod
    def of(cls, part: Part, emissions: Sequence[Emission], lag: int = 0) -> "StepResult":
        """From tokens with frames counted from the start of the step, the last `lag` of which are not settled."""
        first = part.origin + part.t
        said = [emission.later(first) for emission in emissions]
        return cls(said, max(first + part.valid - lag, said[-1].frame + 1 if said else 0))

    @property
    def last(self) -> int:
        """The frame of the last token, or -1."""
        return self.said[-1].frame if self.said else -1


class Runner:
    """Runs the model eagerly. Holds no state of streams: several pools and threads may share one.

    Attributes:
        threads: how many compute a step, of `most_threads`.
        most: streams that step together at most.
        trials: rows and frames of steps that tell what others cost: short and long, alone and in company.
    """

    most = MOST_ROWS
    trials: tuple[tuple[int, int], ...] = ((1, 1), (8, 1), (1, 14), (8, 14))

    def __init__(self, model: NemotronASR, log_mel: LogMel) -> None:
        self.model = model.eval()
        self.log_mel = log_mel
        self.device = model.transducer.head.bias.device
        self.dtype = model.transducer.head.bias.dtype
        self.threads = self.most_threads = torch.get_num_threads()
        self._distances: dict[int, list[Tensor]] = {}
        if self.device.type == "cpu" and isinstance(model.transducer.lstm, nn.LSTM):
            model.transducer.set_submodule("lstm", CellLSTM(model.transducer.lstm))

    def use_threads(self, threads: int) -> None:
        """Compute by so many threads from now on: torch's, and so those of the whole process."""
        self.threads = threads
        torch.set_num_threads(threads)

    @torch.inference_mode()
    def pool(self, rows: int = 1) -> Pool:
        """Rows of state for this runner's steps."""
        return Pool(self.initial_state(rows), self.model.transducer)

    def initial_state(self, rows: int) -> EncoderState:
        """The encoder's state of so many streams at time zero."""
        state: EncoderState = self.model.encoder.initial_state(rows)
        return state

    @torch.inference_mode()
    def step(self, pool: Pool, parts: Sequence[Part], frames: int, chunk: int) -> list[StepResult]:
        """Advance every stream by the same number of encoder frames.

        Args:
            pool: where the streams' states live.
            parts: what each brings.
            frames: a multiple of `chunk`.
            chunk: lookahead + 1.

        Returns:
            What was found in each stream.
        """
        mel = self.features(parts, 0, frames)
        encoded = self.encode(pool, parts, mel, frames, chunk)
        fused = self.fuse(parts, encoded)
        return self.decode(pool, parts, fused)

    def features(self, parts: Sequence[Part], first: int, last: int) -> Tensor:
        """Log-mel frames (B, 8 * frames, n_mels) of the encoder frames of the parts' windows from `first` to `last`."""
        samples = slice(first * FRAME_SAMPLES, first * FRAME_SAMPLES + 1 + window_samples(last - first))
        start = self._tensor([window_start(part.t + first) for part in parts])
        end = self._tensor([part.end for part in parts])
        windows = torch.from_numpy(np.stack([part.window[samples] for part in parts])).to(self.device)
        mel: Tensor = self.log_mel(windows, start, end)
        return mel.to(self.dtype)

    def encode(self, pool: Pool, parts: Sequence[Part], mel: Tensor, frames: int, chunk: int) -> Tensor:
        """Encoder frames (B, frames, d_model); the states of all but flushes move on."""
        end = self._tensor([mel_frames(part.end) for part in parts])
        rows = self._tensor([part.row for part in parts])
        state = pool.encoder.gather(rows)
        encoded: Tensor
        encoded, state = self.model.encoder(mel, end, state, chunk, self._kept_distances(state.k.shape[3], frames))
        keep = self._tensor([i for i, part in enumerate(parts) if not part.flush])
        pool.encoder.scatter(rows[keep], state.gather(keep) if len(keep) < len(rows) else state)
        return encoded

    def fuse(self, parts: Sequence[Part], encoded: Tensor) -> Tensor:
        """Encoder frames with the language in them."""
        fused: Tensor = self.model.prompt(encoded, self._tensor([part.target.prompt for part in parts]))
        return fused

    def decode(self, pool: Pool, parts: Sequence[Part], fused: Tensor) -> list[StepResult]:
        """The tokens of every part; its predictor moves on. Parts with beams of one width are searched together."""
        heard: dict[int, StepResult] = {}
        for width in {part.beam.width for part in parts}:
            members = [i for i, part in enumerate(parts) if part.beam.width == width]
            search = self._greedy if width == 1 else self._beam
            found = search(pool, [parts[i] for i in members], fused[self._tensor(members)])
            heard |= zip(members, found, strict=True)
        return [heard[i] for i in range(len(parts))]

    def _greedy(self, pool: Pool, parts: Sequence[Part], fused: Tensor) -> list[StepResult]:
        rows, first, valid, bias = self._search(pool, parts)
        said, state = greedy(self.model.transducer, fused, valid, pool.decoder.gather(rows), first, bias)
        pool.decoder.scatter(rows, state)
        if bias:
            pool.boosted[rows] = bias.place
        return [StepResult.of(part, emissions) for part, emissions in zip(parts, said, strict=True)]

    def _beam(self, pool: Pool, parts: Sequence[Part], fused: Tensor) -> list[StepResult]:
        rows, first, valid, bias = self._search(pool, parts)
        state, ends = pool.beams[parts[0].beam.width], self._tensor([part.last for part in parts]).bool()
        said, after = beam(self.model.transducer, fused, valid, state.gather(rows), first, ends, bias)
        state.scatter(rows, after)
        return [StepResult.of(*each) for each in zip(parts, said, after.lag().tolist(), strict=True)]

    def _search(self, pool: Pool, parts: Sequence[Part]) -> tuple[Tensor, Tensor, Tensor, Bias | None]:
        """What a search needs: rows of state, the first frame, how many exist, and what the streams prefer."""
        rows = self._tensor([part.row for part in parts])
        first, valid = self._tensor([part.first for part in parts]), self._tensor([part.valid for part in parts])
        return rows, first, valid, self._bias(pool, parts, rows)

    def _bias(self, pool: Pool, parts: Sequence[Part], rows: Tensor) -> Bias | None:
        """What the streams prefer and rule out, if any of them does."""
        if not any(part.boost or part.target.banned for part in parts):
            return None
        trees, banned = [part.boost for part in parts], [part.target.banned for part in parts]
        return Bias.of(trees, banned, pool.boosted[rows], pool.tables, self.model.config.blank)

    def _kept_distances(self, history: int, frames: int) -> list[Tensor]:
        if frames not in self._distances:
            self._distances[frames] = self.model.encoder.distances(history, frames)
        return self._distances[frames]

    def _tensor(self, values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)
