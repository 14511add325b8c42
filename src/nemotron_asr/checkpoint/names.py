"""What the tensors are called in each format, and the few that are shaped differently."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from nemotron_asr.checkpoint.int8 import MATRICES, scale_of
from nemotron_asr.checkpoint.mapping import release
from nemotron_asr.checkpoint.skeleton import skeleton
from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import CheckpointError


class Format(IntEnum):
    """A column of the table."""

    NATIVE = 0
    HUGGING_FACE = 1
    NEMO = 2


# Ours, Hugging Face's, NeMo's; what follows (.weight, .bias, .bias_ih_l0) is the same.
TABLE = """
encoder.subsampling.conv.0       encoder.subsampling.conv_in                  encoder.pre_encode.conv.0
encoder.subsampling.conv.1       encoder.subsampling.layers.0.depthwise_conv  encoder.pre_encode.conv.2
encoder.subsampling.pointwise.0  encoder.subsampling.layers.0.pointwise_conv  encoder.pre_encode.conv.3
encoder.subsampling.conv.2       encoder.subsampling.layers.1.depthwise_conv  encoder.pre_encode.conv.5
encoder.subsampling.pointwise.1  encoder.subsampling.layers.1.pointwise_conv  encoder.pre_encode.conv.6
encoder.subsampling.out          encoder.subsampling.linear                   encoder.pre_encode.out
encoder.blocks                   encoder.layers                               encoder.layers
prompt.frame                     prompt_projector.linear_1                    prompt_kernel.0
prompt.out                       prompt_projector.linear_2                    prompt_kernel.2
transducer.embed                 decoder.embedding                            decoder.prediction.embed
transducer.lstm                  decoder.lstm                                 decoder.prediction.dec_rnn.lstm
transducer.pred                  decoder.decoder_projector                    joint.pred
transducer.enc                   encoder_projector                            joint.enc
transducer.head                  joint.head                                   joint.joint_net.2
"""

# The same within one block, `encoder.blocks.0.` and so on.
BLOCK_TABLE = """
norm_ff1                 norm_feed_forward1         norm_feed_forward1
ff1.up                   feed_forward1.linear1      feed_forward1.linear1
ff1.down                 feed_forward1.linear2      feed_forward1.linear2
norm_attention           norm_self_att              norm_self_att
attention.q              self_attn.q_proj           self_attn.linear_q
attention.k              self_attn.k_proj           self_attn.linear_k
attention.v              self_attn.v_proj           self_attn.linear_v
attention.out            self_attn.o_proj           self_attn.linear_out
attention.position       self_attn.relative_k_proj  self_attn.linear_pos
attention.content_bias   self_attn.bias_u           self_attn.pos_bias_u
attention.position_bias  self_attn.bias_v           self_attn.pos_bias_v
norm_conv                norm_conv                  norm_conv
conv.expand              conv.pointwise_conv1       conv.pointwise_conv1
conv.depthwise           conv.depthwise_conv        conv.depthwise_conv
conv.norm                conv.norm                  conv.batch_norm
conv.reduce              conv.pointwise_conv2       conv.pointwise_conv2
norm_ff2                 norm_feed_forward2         norm_feed_forward2
ff2.up                   feed_forward2.linear1      feed_forward2.linear1
ff2.down                 feed_forward2.linear2      feed_forward2.linear2
norm_out                 norm_out                   norm_out
"""


def _rows(table: str) -> dict[str, list[str]]:
    return {columns[0]: columns for columns in map(str.split, table.splitlines()) if columns}


_OUTER, _INNER = _rows(TABLE), _rows(BLOCK_TABLE)
_BLOCK = re.compile(r"(encoder\.blocks)\.(\d+)\.(.+)")
_FRAME, _LANGUAGE = "prompt.frame.weight", "prompt.language.weight"
_POINTWISE = re.compile(r"\.conv\.(expand|reduce)\.weight$")  # our Linear is the others' convolution of one frame
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHOWN = 4


@dataclass(frozen=True)
class Slot:
    """One tensor of a format: whose it is, and its shape there."""

    ours: str
    shape: torch.Size


def translate(name: str, target: Format) -> str:
    """Our name of a tensor -> its name in a format."""
    if block := _BLOCK.fullmatch(name):
        blocks, number, inner = block.groups()
        return f"{_OUTER[blocks][target]}.{number}.{_lookup(inner, _INNER, target)}"
    return _lookup(name, _OUTER, target)


def _lookup(name: str, rows: dict[str, list[str]], target: Format) -> str:
    if name in rows:
        return rows[name][target]
    stem, leaf = name.rsplit(".", 1)
    return f"{rows[stem][target]}.{leaf}"


def slots(config: ModelConfig, source: Format) -> dict[str, Slot]:
    """Every tensor that a model of this configuration has in a format."""
    parameters = skeleton(config).state_dict()
    if source == Format.NATIVE:
        return {name: Slot(name, tensor.shape) for name, tensor in parameters.items()}
    result = {}
    for name, tensor in parameters.items():
        shape = tensor.shape
        if name == _LANGUAGE:
            continue  # lies beside the frames' weight in the others
        if name == _FRAME:
            shape = torch.Size([config.d_prompt, config.d_model + config.n_prompts])
        elif _POINTWISE.search(name):
            shape = torch.Size([*shape, 1])
        result[translate(name, source)] = Slot(name, shape)
    return result


def unpack(found: Mapping[str, Tensor], config: ModelConfig, source: Format) -> dict[str, Tensor]:
    """A format's tensors -> ours, as views wherever that is possible.

    Raises:
        CheckpointError: tensors are missing, unexpected, mis-shaped or not floating point; all are named.
    """
    wanted = slots(config, source)
    if source == Format.NATIVE:
        wanted |= _scales(found, wanted)
    _check(found, wanted)
    weights = {slot.ours: found[name] for name, slot in wanted.items()}
    if source == Format.NATIVE:
        return weights
    if _FRAME in weights:
        both = weights[_FRAME]
        weights[_FRAME] = both[:, : config.d_model].contiguous()
        weights[_LANGUAGE] = both[:, config.d_model :].T.contiguous()
        release(both)
    return {name: tensor.squeeze(-1) if _POINTWISE.search(name) else tensor for name, tensor in weights.items()}


def pack(weights: Mapping[str, Tensor], config: ModelConfig, target: Format) -> dict[str, Tensor]:
    """Our tensors -> a format's.

    Raises:
        CheckpointError: they are not those of this configuration.
    """
    wanted = slots(config, Format.NATIVE)
    if target == Format.NATIVE:
        _check(weights, wanted | _scales(weights, wanted))
        return dict(weights)
    _check(weights, wanted)
    result = {}
    for name, tensor in weights.items():
        if name == _FRAME:
            packed = torch.cat([tensor, weights[_LANGUAGE].T.to(tensor)], dim=1)
        else:
            packed = tensor.unsqueeze(-1) if _POINTWISE.search(name) else tensor
        if name != _LANGUAGE:
            result[translate(name, target)] = packed
    return result


def _scales(found: Mapping[str, Tensor], wanted: Mapping[str, Slot]) -> dict[str, Slot]:
    """The scales that matrices in int8 need; only our own format has such."""
    return {
        scale_of(name): Slot(scale_of(name), wanted[name].shape[:1])
        for name, tensor in found.items()
        if name in wanted and MATRICES.fullmatch(name) and tensor.dtype == torch.int8
    }


def _check(found: Mapping[str, Tensor], wanted: Mapping[str, Slot]) -> None:
    shapes = [
        f"{name} {list(found[name].shape)} instead of {list(slot.shape)}"
        for name, slot in wanted.items()
        if name in found and found[name].shape != slot.shape
    ]
    types = [
        f"{name} {tensor.dtype}"
        for name, tensor in found.items()
        if name in wanted and not _is_plain(name, tensor, wanted)
    ]
    complaints = [
        _complaint("missing", [name for name in wanted if name not in found]),
        _complaint("unexpected", [name for name in found if name not in wanted]),
        _complaint("of another shape", shapes),
        _complaint("of an unsupported type", types),
    ]
    if any(complaints):
        raise CheckpointError(f"the tensors are not those of this configuration: {'; '.join(filter(None, complaints))}")


def _is_plain(name: str, tensor: Tensor, wanted: Mapping[str, Slot]) -> bool:
    quantized = tensor.dtype == torch.int8 and scale_of(name) in wanted
    return tensor.layout == torch.strided and (tensor.dtype in _FLOATS or quantized)


def _complaint(what: str, names: Iterable[str]) -> str:
    """`2 missing (a, b)`, abbreviated when there are many."""
    listed = [name if len(name) <= 150 else f"{name[:147]}..." for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"{len(listed)} {what} ({', '.join(listed[:_SHOWN])}{more})" if listed else ""
