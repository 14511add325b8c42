"""From a checkpoint to what executes its steps."""

import logging
from typing import TYPE_CHECKING

import torch

from nemotron_asr.checkpoint import Checkpoint, place_weights, skeleton, to_float
from nemotron_asr.checkpoint.int8 import MATRICES
from nemotron_asr.engine.devices import DTYPES
from nemotron_asr.engine.packed import supported
from nemotron_asr.engine.quantize import Int8Linear, pack, quantize, take_quantized
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.subsampling import FastSubsampling
from nemotron_asr.features import LogMel
from nemotron_asr.model import NemotronASR

if TYPE_CHECKING:
    from nemotron_asr.engine.packed.runner import PackedRunner

logger = logging.getLogger(__name__)


def build_model(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> tuple[NemotronASR, LogMel]:
    """The model and its front end with a checkpoint's weights, in evaluation mode; see `place_weights`."""
    model = skeleton(checkpoint.config)
    if dtype == torch.int8:
        take_quantized(model, checkpoint.weights)
        place_weights(model, checkpoint.weights, device, torch.float32, untouched=MATRICES)
        quantize(model)
    else:
        kept = torch.bfloat16 if dtype == DTYPES["float8"] else dtype  # what is not multiplied in 8 bits
        place_weights(model, to_float(checkpoint.weights), device, kept)
    log_mel = LogMel(checkpoint.config)
    log_mel.load_state_dict({**log_mel.state_dict(), **checkpoint.front_end})
    return model.eval().requires_grad_(requires_grad=False), log_mel.to(device)


def make_runner(model: NemotronASR, log_mel: LogMel, *, float8: bool = False) -> Runner:
    """What executes the steps of a model fastest here; on a GPU, if wanted, with its linears in 8-bit floats.

    Raises:
        ValueError: 8-bit floats are wanted of a model that is not on a GPU.
    """
    quantized, device = isinstance(model.transducer.head, Int8Linear), model.transducer.head.bias.device
    if float8 and device.type != "cuda":
        raise ValueError(f"8-bit floats are for NVIDIA's GPUs, not for {device}")
    if quantized and supported(model.config) and (packed := _packed_runner()):
        runner: Runner = packed(model, log_mel, torch.get_num_threads())
    elif device.type == "cuda":
        from nemotron_asr.engine.gpu.runner import GpuRunner, best_kernels  # imports Triton, which comes with CUDA

        runner = GpuRunner(model, log_mel, best_kernels(), float8=float8)
    else:
        if quantized:
            model.encoder.set_submodule("subsampling", FastSubsampling(model.encoder.subsampling, model.config.n_mels))
        runner = Runner(model, log_mel)
    pack(model)
    return runner


def _packed_runner() -> type["PackedRunner"] | None:
    """The runner in compiled code, unless numba refuses what it finds, such as a NumPy newer than itself."""
    try:
        from nemotron_asr.engine.packed.runner import PackedRunner  # imports numba
    except ImportError as error:
        logger.warning("int8 is slower here than it could be, for numba cannot be used: %s", error)
        return None
    return PackedRunner
