"""The fast path on CPUs with 8-bit dot products: all blocks of the encoder, and the search, in compiled code.

machine.py      what the processor can do
layout.py       how weights, state and scratch memory lie
weights.py      packs a quantised model
compiling.py    where compiled code is kept
emitting.py     words for what numba cannot say; intrinsics.py: small things said in them
products.py     tiles of matrix products in vector registers; matrix.py: in those of AMX; tiles.py: compiled
kernels.py      rows: norms, quantisation, products, feed-forward, convolution
attention.py    heads; one_frame.py: in steps of one frame
convolutions.py the subsampling, frame by frame; subsampling.py: packs it
widths.py       what narrower models are filled up to
step.py         a step, as one thread of a team runs it
linear.py       linears by themselves
search.py       greedy search; transducer.py: packs predictor and joint for it
team.py         threads that compute together
runner.py       PackedRunner: teams and shares of threads
"""

from nemotron_asr.config import ModelConfig
from nemotron_asr.engine.packed.machine import has_bfloat16, has_vectors

__all__ = ["has_bfloat16", "supported"]


def supported(config: ModelConfig) -> bool:
    """Whether this machine has the instructions, numba is installed, and the kernels take the model's sizes."""
    return _sizes_fit(config) and has_vectors()


def _sizes_fit(config: ModelConfig) -> bool:
    return config.d_model <= 128 * config.n_heads and 14 <= config.left_context <= 192
