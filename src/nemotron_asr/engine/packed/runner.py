"""The runner of quantised models on CPUs."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nemotron_asr.checkpoint import release_file
from nemotron_asr.config import SUBSAMPLING
from nemotron_asr.engine.memory import release_libraries, trim
from nemotron_asr.engine.packed.layout import (
    BLOCK,
    LONGEST,
    TALL,
    TILE_COLUMNS,
    Batch,
    Context,
    Group,
    Halves,
    Longs,
    Scratch,
    State,
    Thread,
    Weights,
)
from nemotron_asr.engine.packed.linear import LANES, PackedLinears, StoredLinear
from nemotron_asr.engine.packed.products import PITCH
from nemotron_asr.engine.packed.step import run_step
from nemotron_asr.engine.packed.subsampling import PackedSubsampling
from nemotron_asr.engine.packed.team import SOLO, Team
from nemotron_asr.engine.packed.tiles import FLOAT_TILE, INT8_TILE
from nemotron_asr.engine.packed.transducer import PackedTransducer
from nemotron_asr.engine.packed.weights import bfloat16_bits, pack_weights
from nemotron_asr.engine.packed.widths import Widths, filled
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.quantize import Int8Linear
from nemotron_asr.engine.runner import Part, Runner, StepResult
from nemotron_asr.engine.stream import UNKNOWN_END, Target
from nemotron_asr.engine.subsampling import FastSubsampling, Subsampled, cut, join, piece
from nemotron_asr.features import LogMel, mel_frames, window_samples
from nemotron_asr.model import EncoderState, NemotronASR
from nemotron_asr.model.conformer import Block

LINE = 32
"""Keys are padded to so many bfloat16: whole cache lines."""

ROOM = 128
"""Streams for which there is room from the start. To make more, all state is copied, and steps wait for that."""

COMPANY = 8
"""Frames of a step from which on a team searches them, for to call it takes a tenth of a millisecond."""


class PackedRunner(Runner):
    """Runs all blocks of the encoder in compiled code, with int8 products and the streams' state in place.

    Args:
        model: its linears are `Int8Linear`; those of the encoder's blocks and of the transducer are taken out of it.
        log_mel: the front end.
        threads: how many compute.
    """

    trials = ((1, 1), (2, 1), (1, LONGEST), (2, 2 * LONGEST))  # each row takes memory beside the weights

    def __init__(self, model: NemotronASR, log_mel: LogMel, threads: int) -> None:
        super().__init__(model, log_mel)
        _fast_subsampling(model)
        self.threads = self.most_threads = threads
        self._widths = Widths.of(model.config)
        self._whole = Team(threads)
        self._own = local()
        takes = PackedTransducer.takes(model.transducer)
        self._transducer = PackedTransducer(model.transducer) if takes else None
        _pack_around(model)
        self._projected = self._project()
        with ThreadPoolExecutor(1) as passing:  # what is a thread's own goes with it
            passing.submit(self._rehearse).result()
        self.use_threads(threads)  # helpers that have not begun: a process that is forked now can begin its own
        trim()
        release_libraries()
        self._weights = pack_weights(model.encoder, self._widths)
        release_file(model.transducer.embed.weight)  # all that was read and is packed now
        trim()

    def use_threads(self, threads: int) -> None:
        """See `Runner.use_threads`; these are the runner's own."""
        self.threads, self._whole = threads, Team(threads)

    @property
    def _team(self) -> Team:
        """Whom this thread computes a step with: the same ones to its end, whatever `use_threads` does meanwhile."""
        return getattr(self._own, "team", None) or self._whole

    @contextmanager
    def _with(self, team: Team) -> Iterator[None]:
        before, self._own.team = getattr(self._own, "team", None), team
        try:
            yield
        finally:
            self._own.team = before

    def _rehearse(self) -> None:
        """A step without blocks: all code is loaded, or compiled, and asks for memory while they do not lie in it.

        It is long enough for a team to search it.
        """
        floats, taps = np.zeros((0, 0, 0, 0), np.float32), np.zeros((0, 0, 0), np.float32)
        self._weights = Weights(np.zeros((0, 0), np.int8), np.zeros((0, 0), np.int64), floats, floats, taps, floats)
        pool, silence = self.pool(), np.zeros(1 + window_samples(LONGEST), np.float32)
        target = Target(self.model.config.default_prompt, "")
        part = Part(pool.acquire(), 0, target, 0, LONGEST, UNKNOWN_END, False, silence)
        self.step(pool, [part], LONGEST, LONGEST)

    def pool(self, rows: int = ROOM) -> Pool:
        """See `Runner.pool`. An engine starts: what else was done before it needs no memory any more."""
        release_libraries()
        return super().pool(rows)

    def initial_state(self, rows: int) -> EncoderState:
        """State whose keys and values are rings in bfloat16, see `layout.State`."""
        config, encoder = self.model.config, self.model.encoder
        own: nn.Module = encoder.subsampling
        eager = encoder.initial_state(1, history=0)
        past = own.initial_past(1) if isinstance(own, PackedSubsampling) else eager.subsampling
        left, width = config.left_context, self._widths.head
        cache = (rows, config.n_layers, config.n_heads)
        k, v = (
            _zeros(*cache, *ring, dtype=np.int16).view(torch.bfloat16)
            for ring in ((width, -(-left // LINE) * LINE), (left, width))
        )
        conv = _zeros(rows, config.n_layers, config.conv_kernel - 1, self._widths.row)
        return EncoderState(torch.zeros(rows, dtype=torch.long), [_zeros(rows, *p.shape[1:]) for p in past], k, v, conv)

    def step(self, pool: Pool, parts: Sequence[Part], frames: int, chunk: int) -> list[StepResult]:
        """See `Runner.step`. The streams of a large step are shared out; a small one is computed by a team."""
        team = self._whole
        with one_torch_thread(), self._with(team):
            if len(parts) < team.threads or len(parts) * frames < BLOCK * team.threads:
                return super().step(pool, parts, frames, chunk)
            shares = [parts[first:last] for first, last in team.parts(len(parts))]
            said = team.share(lambda share: self._step_alone(pool, share, frames, chunk), shares)
            return [heard for some in said for heard in some]

    def features(self, parts: Sequence[Part], first: int, last: int) -> Tensor:
        """See `Runner.features`; of many frames, each thread makes some."""
        if last - first < BLOCK:
            return super().features(parts, first, last)
        some = [(first + a, first + b) for a, b in self._team.parts(last - first)]
        return torch.cat(self._team.share(lambda ends: super(PackedRunner, self).features(parts, *ends), some), 1)

    def fuse(self, parts: Sequence[Part], encoded: Tensor) -> Tensor:
        """See `Runner.fuse`; of many frames, each thread makes some."""
        frames = encoded.shape[1]
        if frames < BLOCK:
            return super().fuse(parts, encoded)
        some = [encoded[:, a:b] for a, b in self._team.parts(frames)]
        return torch.cat(self._team.share(lambda part: super(PackedRunner, self).fuse(parts, part), some), 1)

    def encode(self, pool: Pool, parts: Sequence[Part], mel: Tensor, frames: int, chunk: int) -> Tensor:
        """See `Runner.encode`; the state is changed in place."""
        rows = self._tensor([part.row for part in parts])
        keep = torch.tensor([not part.flush for part in parts])
        state, encoder = pool.encoder, self.model.encoder
        t, end = state.t[rows], self._tensor([mel_frames(part.end) for part in parts])
        x, subsampling, end = self._subsample(mel, end, t, [past[rows] for past in state.subsampling])
        x = filled(x * encoder.scale, 2, (1, self._widths.row)).contiguous()
        batch = Batch(rows.numpy(), t.numpy(), end.numpy(), keep.numpy(), frames, chunk)
        self._run(x.flatten(0, 1).numpy(), batch, _arrays(state))
        kept = rows[keep]
        state.t[kept] += frames
        for past, new in zip(state.subsampling, subsampling, strict=True):
            past[kept] = new[keep]
        return x[..., : self.model.config.d_model].contiguous()

    def _subsample(self, mel: Tensor, end: Tensor, t: Tensor, past: list[Tensor]) -> Subsampled:
        """See `Subsampling.forward`; in pieces, which are shared out unless this thread computes by itself."""
        frames, subsampling = mel.shape[1] // SUBSAMPLING, self.model.encoder.subsampling
        pieces = cut(len(mel), frames, self._team.threads)
        made = self._team.share(lambda each: piece(subsampling, mel, end, t, past, *each), pieces)
        return join(made, frames)

    def _greedy(self, pool: Pool, parts: Sequence[Part], fused: Tensor) -> list[StepResult]:
        if self._transducer is None:
            return super()._greedy(pool, parts, fused)
        rows, first, valid, bias = self._search(pool, parts)
        enc = self.model.transducer.project(fused)
        team = self._team if enc[..., 0].numel() >= COMPANY else SOLO
        said, state = self._transducer.search(enc, first, valid, pool.decoder.gather(rows), bias, team)
        pool.decoder.scatter(rows, state)
        if bias:
            pool.boosted[rows] = bias.place
        return [StepResult.of(part, emissions) for part, emissions in zip(parts, said, strict=True)]

    def _step_alone(self, pool: Pool, parts: Sequence[Part], frames: int, chunk: int) -> list[StepResult]:
        """A step in this thread only."""
        with self._with(SOLO):
            return super().step(pool, parts, frames, chunk)

    def _run(self, x: NDArray[np.float32], batch: Batch, state: State) -> None:
        """All blocks over x (B frames, row), in place."""
        team, distances, widths = self._team, self._projected, self._widths
        streams = max(1, BLOCK // batch.frames) if team.threads == 1 else len(batch.rows)
        group = new_group(min(len(x), streams * batch.frames), widths)
        parts = team.threads if _columns_are_shared(len(x), team.threads) else 1
        shared = block_scratch(min(len(x), BLOCK), widths, parts)

        def run(thread: int, arrivals: Longs, awaited: Longs) -> None:
            work = shared if thread == 0 or parts > 1 else block_scratch(BLOCK, widths, 1)
            me = Thread(
                min(thread, parts - 1), parts, thread, team.threads, arrivals, awaited, work,
                new_context(state, batch.frames), np.zeros(widths.row, np.float32),
            )  # fmt: skip
            run_step(x, streams, batch, group, state, self._weights, distances, me)

        team.run(run)

    def _project(self) -> Halves:
        """Embeddings of all distances, the longest first, as (layers, heads, d_head, distances and some to spare)."""
        encoder, head = self.model.encoder, (1, self._widths.head)
        layers = encoder.distances(self.model.config.left_context, LONGEST)
        columns = [filled(layer.mT.bfloat16(), 1, head) for layer in layers]
        spare = TILE_COLUMNS - columns[0].shape[-1] % LANES
        return bfloat16_bits(torch.stack([torch.nn.functional.pad(layer, (0, spare)) for layer in columns]))


def _fast_subsampling(model: NemotronASR) -> None:
    original, config = model.encoder.subsampling, model.config
    packed = PackedSubsampling.takes(config.subsampling_channels)
    fast = PackedSubsampling(original, config.n_mels) if packed else FastSubsampling(original, config.n_mels)
    model.encoder.set_submodule("subsampling", fast)


def _pack_around(model: NemotronASR) -> None:
    """Pack what is computed once a step before and after the blocks; leave what is computed once, see `_project`."""
    for block in model.encoder.blocks:
        attention = cast("Block", block).attention
        attention.set_submodule("position", StoredLinear(cast("Int8Linear", attention.position)))
    around = ["encoder.subsampling.out", "prompt.frame", "prompt.out", "transducer.enc"]
    linears = {name: module for name, module in model.named_modules() if name in around and PackedLinears.take(module)}
    if linears:
        packed = PackedLinears(cast("list[Int8Linear]", list(linears.values())))
        for name, module in zip(linears, packed.modules, strict=True):
            model.set_submodule(name, module)


def _columns_are_shared(rows: int, threads: int) -> bool:
    """Whether the threads of a team share the columns of a step, and read all weights once for each block of rows.

    Otherwise each takes rows of its own, and reads all weights for them.
    """
    blocks = -(-rows // BLOCK)
    return blocks == 1 or blocks < threads


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """OpenMP's threads spin where they wait, and would take the cores from ours."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _zeros(*shape: int, dtype: type[np.generic] = np.float32) -> Tensor:
    """Zeros that take memory as they are written to, on Linux in large pages: NumPy asks for them, torch does not."""
    return torch.from_numpy(np.zeros(shape, dtype))


def _arrays(state: EncoderState) -> State:
    k, v = (part.view(torch.int16).numpy().view(np.uint16) for part in (state.k, state.v))
    return State(k, v, state.conv.numpy())


def new_group(rows: int, widths: Widths) -> Group:
    """Memory for what streams exchange within a layer."""
    return Group(*(np.zeros((rows, n), np.float32) for n in (3 * widths.attended, widths.attended, widths.row)))


def block_scratch(rows: int, widths: Widths, threads: int) -> Scratch:
    """Memory for a block of rows."""
    ff, whole = widths.feed_forward, -(-rows // TALL) * TALL
    x, hq = np.zeros(whole * max(widths.row, widths.attended), np.uint8), np.zeros(whole * ff, np.uint8)
    h, scales, top = (np.zeros(shape, np.float32) for shape in ((rows, ff), (rows,), (threads, rows, 16)))
    return Scratch(x, h, hq, scales, top, INT8_TILE)


def new_context(state: State, frames: int) -> Context:
    """Memory for the keys and values of a head."""
    left, width, slots = *state.v.shape[3:], state.k.shape[4]
    line = slots + left + slots + frames + 16
    return Context(
        np.zeros((width, line), np.uint16), np.zeros((left + frames, width), np.uint16), slots, left,
        np.zeros((5, LONGEST, PITCH // 4), np.float32), FLOAT_TILE,
    )  # fmt: skip
