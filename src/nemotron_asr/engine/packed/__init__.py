"""The fast path on CPUs with 8-bit dot products: all blocks of the encoder, and the search, in compiled code.

layout.py       how weights, state and scratch memory lie
weights.py      packs a quantised model
compiling.py    where compiled code is kept
emitting.py     words for what numba cannot say; intrinsics.py: small things said in them
products.py     tiles of matrix products in registers; tiles.py: compiled
kernels.py      rows: norms, quantisation, products, feed-forward, convolution
attention.py    heads
convolutions.py the subsampling, frame by frame; subsampling.py: packs it
widths.py       what narrower models are filled up to
step.py         a step, as one thread of a team runs it
linear.py       linears by themselves
search.py       greedy search; transducer.py: packs predictor and joint for it
team.py         threads that compute together
runner.py       PackedRunner: teams and shares of threads
"""

import importlib.util
import os
import platform
from collections.abc import Mapping

from nemotron_asr.config import ModelConfig

NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")


def supported(config: ModelConfig) -> bool:
    """Whether this machine has the instructions, numba is installed, and the kernels take the model's sizes."""
    return _sizes_fit(config) and _machine_fits()


def _sizes_fit(config: ModelConfig) -> bool:
    return config.d_model <= 128 * config.n_heads and 14 <= config.left_context <= 192


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 besides."""
    return _machine_fits() and _features().get("avx512bf16", False)


def _machine_fits() -> bool:
    if platform.machine() not in {"x86_64", "AMD64"} or not hasattr(os, "sched_yield"):
        return False
    if importlib.util.find_spec("numba") is None:
        return False
    return all(_features().get(feature, False) for feature in NEEDED)


def _features() -> Mapping[str, bool]:
    """The processor's, by the names that LLVM has for them."""
    from llvmlite import binding

    features: Mapping[str, bool] = binding.get_host_cpu_features()
    return features
