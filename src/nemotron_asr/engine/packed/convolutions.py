"""The subsampling's convolutions, frame by frame, so that what a stage writes is in the cache when the next reads it.

Eight mel frames are four frames of 65 bins after the first stage, two of 33 after the second and one of 17 after the
third, each with all channels side by side; every stage keeps its last input for the next frame. The convolutions are
computed in float32; what goes into a pointwise one is rounded to bfloat16, and so are its weights.
"""

from functools import cache

from nemotron_asr.config import SUBSAMPLING
from nemotron_asr.engine.packed import matrix
from nemotron_asr.engine.packed.compiling import address_of, jit
from nemotron_asr.engine.packed.intrinsics import call_half_tile, halve_16
from nemotron_asr.engine.packed.kernels import ZERO, Real, address, height, place_of
from nemotron_asr.engine.packed.layout import MATRICES, TILE_COLUMNS, Floats, Halves, Longs, Stages, Stem
from nemotron_asr.engine.packed.products import emit_half_tile


def half_tile(arguments: int) -> None:
    """One tile of out = relu(x w), `height` rows times 32 columns.

    Args:
        arguments: address of seven int64, themselves addresses and numbers:
            height: one of `products.ROWS`; with matrix registers any of up to 32.
            x: (k2, height, 2) bfloat16; with matrix registers one or two times (k2 / 16, 16, 32).
            w: (k2, 32, 2) bfloat16; with matrix registers (k2 / 16, 2, 16, 16, 2).
            biases: (32,) float32.
            out: (height, 32) float32.
            k2: half of the length of the sums, a multiple of 4.
            stride: bytes from row to row of out.
    """
    emit_half_tile(arguments)


def half_matrix_tile(arguments: int) -> None:
    """The same in matrix registers."""
    matrix.emit_half_tile(arguments)


@cache
def half_tile_address() -> int:
    """Where the code of `half_tile` begins; a processor without products of bfloat16 cannot have it."""
    return address_of(half_matrix_tile if MATRICES else half_tile)


@jit
def bin_of(frame: Floats, f: int) -> Real:
    """A bin of a frame, zero where there is none."""
    return frame[f] if 0 <= f < len(frame) else ZERO


@jit
def three_bins(frame: Floats, f: int) -> tuple[Real, Real, Real]:
    """Three bins of a frame, from f on."""
    return bin_of(frame, f), bin_of(frame, f + 1), bin_of(frame, f + 2)


@jit
def convolve_mel(mel: Floats, first: Floats, w: Floats, bins: int) -> None:
    """The first stage: nine mel frames to four of `first`, behind the one that is there. Two at once share the taps."""
    for m in range(2 * bins):
        i, f = 4 * (m // bins), 2 * (m % bins) - 2
        a0, a1, a2 = three_bins(mel[i], f)
        b0, b1, b2 = three_bins(mel[i + 1], f)
        c0, c1, c2 = three_bins(mel[i + 2], f)
        d0, d1, d2 = three_bins(mel[i + 3], f)
        e0, e1, e2 = three_bins(mel[i + 4], f)
        place = (1 + i // 2) * bins + m % bins
        y, z = first[place], first[place + bins]
        for j in range(w.shape[1]):
            p = w[9, j] + a0 * w[0, j] + a1 * w[1, j] + a2 * w[2, j] + b0 * w[3, j] + b1 * w[4, j] + b2 * w[5, j]
            q = w[9, j] + c0 * w[0, j] + c1 * w[1, j] + c2 * w[2, j] + d0 * w[3, j] + d1 * w[4, j] + d2 * w[5, j]
            y[j] = max(ZERO, p + c0 * w[6, j] + c1 * w[7, j] + c2 * w[8, j])
            z[j] = max(ZERO, q + e0 * w[6, j] + e1 * w[7, j] + e2 * w[8, j])


@jit
def channels_of(x: Floats, frame: int, f: int, bins: int) -> Floats:
    """All channels of a bin of a frame; the last of x are the zeros that stand for what does not exist."""
    channels: Floats = x[frame * bins + f] if 0 <= f < bins else x[len(x) - 1]
    return channels


@jit
def convolve_bin(x: Floats, i: int, f: int, bins: int, w: Floats, y: Floats) -> None:
    """All channels of one bin of a depthwise convolution: nine bins of x, from (i, f) on."""
    a, b, c = channels_of(x, i, f, bins), channels_of(x, i, f + 1, bins), channels_of(x, i, f + 2, bins)
    i += 1
    d, e, g = channels_of(x, i, f, bins), channels_of(x, i, f + 1, bins), channels_of(x, i, f + 2, bins)
    i += 1
    h, k, m = channels_of(x, i, f, bins), channels_of(x, i, f + 1, bins), channels_of(x, i, f + 2, bins)
    for j in range(w.shape[1]):
        total = w[9, j] + a[j] * w[0, j] + b[j] * w[1, j] + c[j] * w[2, j] + d[j] * w[3, j] + e[j] * w[4, j]
        y[j] = total + g[j] * w[5, j] + h[j] * w[6, j] + k[j] * w[7, j] + m[j] * w[8, j]


@jit
def halve(y: Floats, m: int, rows: int, out: Halves) -> None:
    """Row m of a block of `rows`, rounded, to where a product reads it; tiles lie as those of `kernels.quantise`."""
    for c in range(0, len(y), 16):
        place, stride = place_of(m, rows, 2 * c, 2 * len(y))
        halve_16(address(y) + 4 * c, address(out) + place, stride)


@jit
def multiply_halves(x: Halves, points: Halves, biases: Floats, out: Floats, tile: int) -> None:
    """Out = relu(x w + biases) for all rows of out."""
    rows, channels = out.shape
    if MATRICES:
        matrix.prepare()
    for n in range(len(points)):
        m = 0
        while m < rows:
            tall = height(rows - m)
            operands = address(x) + 2 * m * channels, address(points[n]), address(biases) + 4 * TILE_COLUMNS * n
            to = address(out[m]) + 4 * TILE_COLUMNS * n
            call_half_tile(tile, (tall, *operands, to, channels // 2, 4 * channels))
            m += tall
    if MATRICES:
        matrix.forget()


@jit
def convolve_channels(x: Floats, bins: int, stage: int, stem: Stem, stages: Stages, out: Floats) -> None:
    """A later stage: x, frames of so many bins, to the frames of `out` (frames bins, channels)."""
    fewer, rows = bins // 2 + 1, len(out)
    for m in range(rows):
        convolve_bin(x, 2 * (m // fewer), 2 * (m % fewer) - 2, bins, stem.taps[stage], stages.y)
        halve(stages.y, m, rows, stages.halves)
    multiply_halves(stages.halves, stem.points[stage], stem.biases[stage], out, stages.tile)


@jit
def silence(x: Floats, bins: int, frames: int, t: int, end: int) -> None:
    """Zero those of the last frames, whose times begin with t, that lie before zero or from `end` on."""
    for i in range(frames):
        if t + i < 0 or t + i >= end:
            x[(1 + i) * bins : (2 + i) * bins] = ZERO


@jit
def make_frame(mel: Floats, t: int, end: int, stem: Stem, stages: Stages, out: Floats) -> None:
    """One encoder frame.

    Args:
        mel: (8, bins), those from 8 t - 7 on.
        t: its time.
        end: mel frames that exist.
        stem: weights.
        stages: inputs of the stages, whose first frames are the past; they move on.
        out: (bins, channels) the input of the linear.
    """
    bins, fewer = (len(stages.first) - 1) // 5, (len(stages.second) - 1) // 3
    stages.mel[1:] = mel
    silence(stages.mel, 1, SUBSAMPLING, SUBSAMPLING * t - 7, end)
    convolve_mel(stages.mel, stages.first, stem.first, bins)
    end = end // 2 + 1
    silence(stages.first, bins, 4, 4 * t - 3, end)
    convolve_channels(stages.first, bins, 0, stem, stages, stages.second[fewer : 3 * fewer])
    end = end // 2 + 1
    silence(stages.second, fewer, 2, 2 * t - 1, end)
    convolve_channels(stages.second, fewer, 1, stem, stages, out)
    stages.mel[0] = stages.mel[SUBSAMPLING]
    stages.first[:bins] = stages.first[4 * bins : 5 * bins]
    stages.second[:fewer] = stages.second[2 * fewer : 3 * fewer]


@jit
def subsample(
    mel: Floats, end: Longs, t: Longs, past: tuple[Floats, Floats, Floats], stem: Stem, stages: Stages, out: Floats
) -> None:
    """All frames of some streams.

    Args:
        mel: (B, 8 n, bins), those from 8 t - 7 on.
        end: (B,) mel frames that exist.
        t: (B,) times of the first frames.
        past: of every stage the last input, (B, bins) and twice (B, bins, channels); moves on.
        stem: weights.
        stages: memory.
        out: (B, n, bins, channels) the inputs of the linear.
    """
    mels, firsts, seconds = past
    bins, fewer = firsts.shape[1], seconds.shape[1]
    for b in range(len(mel)):
        stages.mel[0], stages.first[:bins], stages.second[:fewer] = mels[b], firsts[b], seconds[b]
        for i in range(out.shape[1]):
            mine = mel[b, SUBSAMPLING * i : SUBSAMPLING * (i + 1)]
            make_frame(mine, t[b] + i, end[b], stem, stages, out[b, i])
        mels[b], firsts[b], seconds[b] = stages.mel[0], stages.first[:bins], stages.second[:fewer]
