"""A model in sherpa-onnx's files, so that `nemotron-asr bench --against sherpa-onnx` runs on the same weights.

    python -m benchmarks.export_sherpa FOLDER --layers 4                 # random weights, also as FOLDER/model
    python -m benchmarks.export_sherpa FOLDER --model MODEL

Writes `FOLDER/80` and `FOLDER/1120` with what sherpa-onnx's own exporter of
NeMo's streaming transducers writes: encoder, decoder and joiner, their copies with 8-bit weights, and the tokens. As in
NeMo, the encoder remembers the inputs of attention and projects keys, values and distances of the whole past at every
chunk. Needs the packages onnx and onnxruntime.
"""

import argparse
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import onnx
import torch
import torch.nn.functional as F
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from nemotron_asr.benchmark.comparison import recording
from nemotron_asr.benchmark.random_model import RELEASED, random_checkpoint
from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nemotron_asr.config import LATENCIES, SUBSAMPLING
from nemotron_asr.engine.building import build_model
from nemotron_asr.languages import PROMPTS
from nemotron_asr.model import NemotronASR
from nemotron_asr.model.conformer import Attention, Block, shift_by_distance
from nemotron_asr.model.encoder import distance_embeddings, visible_keys

BEFORE = SUBSAMPLING + 1
"""Mel frames that a chunk hears again."""

MAX_SYMBOLS = 10
"""Tokens of one frame at most, in sherpa-onnx."""

OPSET = 17

CACHES = ["cache_last_channel", "cache_last_time", "cache_last_channel_len"]
ENCODED = ["outputs", "encoded_lengths", "cache_last_channel_next", "cache_last_time_next",
           "cache_last_channel_next_len"]  # fmt: skip


class StreamingEncoder(nn.Module):
    """One chunk of the encoder with its past in NeMo's form, and the language prompt."""

    def __init__(self, model: NemotronASR, chunk: int) -> None:
        super().__init__()
        self.config, self.encoder, self.prompt, self.chunk = model.config, model.encoder, model.prompt, chunk

    def forward(
        self, mel: Tensor, length: Tensor, channel: Tensor, time: Tensor, known: Tensor, *prompt: Tensor
    ) -> tuple[Tensor, ...]:
        """Encode a chunk.

        Args:
            mel: (B, n_mels, 9 + 8 n): those of the chunk, and 9 before it.
            length: (B,) mel frames.
            channel: (B, layers, left, d_model) inputs of attention.
            time: (B, layers, d_model, kernel - 1) inputs of the convolutions.
            known: (B,) frames of `channel` that exist; with none the stream begins.
            prompt: (B,) languages, unless the model has none.

        Returns:
            Frames (B, d_model, n), how many of them, and the past for the next chunk.
        """
        x = self._subsample(mel.transpose(-1, -2), known)
        history, frames = channel.shape[2], x.shape[1]
        visible = visible_keys(known, known + frames, history, frames, self.chunk, self.config.left_context)
        distances = distance_embeddings(history + frames - 1, 1 - frames, self.config.d_model)
        channels, times = [], []
        for i, block in enumerate(self.encoder.blocks):
            x, new_channel, new_time = _run(cast("Block", block), x, distances, visible, channel[:, i], time[:, i])
            channels.append(new_channel)
            times.append(new_time)
        fused, after = self.prompt(x, *prompt or (known,)), (known + frames).clamp(max=history)
        return (
            fused.transpose(-1, -2),
            (length - BEFORE) // SUBSAMPLING,
            torch.stack(channels, 1),
            torch.stack(times, 1),
            after,
        )

    def _subsample(self, mel: Tensor, t: Tensor) -> Tensor:
        """Frames from the window alone; the first, for which the window is too short, is dropped."""
        past = [torch.zeros_like(s) for s in self.encoder.initial_state(1).subsampling]
        past[0] = mel[:, None, :1]
        end = torch.full_like(t, 1 << 30)
        x, _, _ = self.encoder.subsampling(mel[:, 1:], end, t - 1, past)
        return cast("Tensor", x[:, 1:] * self.encoder.scale)


def _run(
    block: Block, x: Tensor, distances: Tensor, visible: Tensor, channel: Tensor, time: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One block over (B, T, d_model) with the past as `StreamingEncoder` has it, and its new past."""
    x = x + 0.5 * block.ff1(block.norm_ff1(x))
    heard = block.norm_attention(x)
    context = torch.cat([channel, heard], 1)
    x = x + _attend(block.attention, heard, context, distances, visible)
    convolved, time = block.conv(block.norm_conv(x), time)
    x = x + convolved
    x = x + 0.5 * block.ff2(block.norm_ff2(x))
    return block.norm_out(x), context[:, x.shape[1] :], time


def _attend(attention: Attention, x: Tensor, context: Tensor, distances: Tensor, visible: Tensor) -> Tensor:
    """`Attention.forward`, keys and values being those of the whole context."""
    q, k, v = (attention.split(f(y)) for f, y in [(attention.q, x), (attention.k, context), (attention.v, context)])
    by_distance = (q + attention.position_bias[:, None]) @ attention.split(attention.position(distances)).transpose(
        -1, -2
    )
    position = shift_by_distance(by_distance, context.shape[1]) * q.shape[-1] ** -0.5
    bias = position.masked_fill(~visible, float("-inf"))
    y = F.scaled_dot_product_attention(q + attention.content_bias[:, None], k, v, attn_mask=bias)
    attended: Tensor = attention.out(y.transpose(1, 2).flatten(2))
    return attended


class Predictor(nn.Module):
    """The predictor without its projection."""

    def __init__(self, model: NemotronASR) -> None:
        super().__init__()
        self.embed, self.lstm = model.transducer.embed, model.transducer.lstm

    def forward(self, token: Tensor, length: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1, 1) token after the memory (layers, 1, d_pred) -> (1, d_pred, 1), a length, and the new memory."""
        y, (h, c) = self.lstm(self.embed(token), (h, c))
        return y.transpose(-1, -2), length + 0, h, c


class Joiner(nn.Module):
    """Both projections and the joint."""

    def __init__(self, model: NemotronASR) -> None:
        super().__init__()
        self.transducer = model.transducer

    def forward(self, frame: Tensor, predicted: Tensor) -> Tensor:
        """(1, d_model, 1) and (1, d_pred, 1) -> (1, 1, 1, vocab_size + 1) logits."""
        enc, pred = self.transducer.project(frame.transpose(-1, -2)), self.transducer.pred(predicted.transpose(-1, -2))
        return self.transducer.joint(enc[:, :, None], pred[:, None])


@torch.inference_mode()
def export(checkpoint: Checkpoint, folder: Path, latency: int, *, quantised: bool = True) -> None:
    """Write one chunk size of a model as sherpa-onnx reads it.

    Args:
        checkpoint: in float32.
        folder: made here.
        latency: in ms.
        quantised: with copies in 8 bits.
    """
    folder.mkdir(parents=True)
    model, _ = build_model(checkpoint, torch.device("cpu"), torch.float32)
    chunk, config = LATENCIES[latency] + 1, model.config
    one, mel = torch.ones(1, dtype=torch.long), SUBSAMPLING * chunk + BEFORE
    channel = torch.zeros(1, config.n_layers, config.left_context, config.d_model)
    time = torch.zeros(1, config.n_layers, config.d_model, config.conv_kernel - 1)
    prompt = {"prompt_index": config.default_prompt * one} if config.n_prompts else {}
    inputs = (torch.zeros(1, config.n_mels, mel), mel * one, channel, time, 0 * one, *prompt.values())
    varying = {"audio_signal": {0: "batch", 2: "time"}, "cache_last_channel": {2: "past"}}
    _write(StreamingEncoder(model, chunk), inputs, ["audio_signal", "length", *CACHES, *prompt], ENCODED,
           folder / "encoder.onnx", varying, _about(checkpoint, latency, channel, time))  # fmt: skip
    token, memory = one[:, None].int(), torch.zeros(config.pred_layers, 1, config.d_pred)
    _write(Predictor(model), (token, one.int(), memory, memory), ["targets", "target_length", "h", "c"],
           ["outputs", "prednet_lengths", "h_next", "c_next"], folder / "decoder.onnx")  # fmt: skip
    frame, predicted = torch.zeros(1, config.d_model, 1), torch.zeros(1, config.d_pred, 1)
    _write(Joiner(model), (frame, predicted), ["encoder_outputs", "decoder_outputs"], ["outputs"],
           folder / "joiner.onnx")  # fmt: skip
    (folder / "tokens.txt").write_text(_tokens(checkpoint), encoding="utf-8")
    for name in ("encoder", "decoder", "joiner") if quantised else ():
        quantize_dynamic(folder / f"{name}.onnx", folder / f"{name}.int8.onnx", weight_type=QuantType.QUInt8)


def _write(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    varying: dict[str, dict[int, str]] | None = None,
    about: dict[str, object] | None = None,
) -> None:
    """Write a module with all its weights in one file beside it, as models beyond 2 GB need it."""
    with TemporaryDirectory(dir=path.parent) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constants that are meant to be constant
        raw = Path(scratch) / path.name
        torch.onnx.export(
            module.eval(), inputs, str(raw), input_names=names, output_names=outputs, opset_version=OPSET,
            dynamic_axes=varying, dynamo=False,
        )  # fmt: skip
        graph = onnx.load(raw)
    onnx.helper.set_model_props(graph, {key: str(value) for key, value in (about or {}).items()})
    onnx.save(graph, path, save_as_external_data=True, location=f"{path.stem}.data")


def _about(checkpoint: Checkpoint, latency: int, channel: Tensor, time: Tensor) -> dict[str, object]:
    """What sherpa-onnx reads beside the graph."""
    config, shift = checkpoint.config, SUBSAMPLING * (LATENCIES[latency] + 1)
    sizes = {
        f"{name}_dim{i}": cache.shape[i] for name, cache in zip(CACHES, (channel, time), strict=False)
        for i in (1, 2, 3)
    }  # fmt: skip
    prompts = {"prompt_dictionary": json.dumps(dict(config.prompts or PROMPTS) | {"auto": config.default_prompt}),
               "auto_prompt_id": config.default_prompt} if config.n_prompts else {}  # fmt: skip
    return {
        "vocab_size": config.vocab_size, "window_size": shift + BEFORE, "chunk_shift": shift, "chunk_size_ms": latency,
        "subsampling_factor": SUBSAMPLING, "feat_dim": config.n_mels, "normalize_type": "",
        "pred_rnn_layers": config.pred_layers, "pred_hidden": config.d_pred, "model_type": "EncDecRNNTBPEModel",
        **sizes, **prompts,
    }  # fmt: skip


def _tokens(checkpoint: Checkpoint) -> str:
    pieces = [checkpoint.tokenizer.piece(i) for i in range(checkpoint.config.vocab_size)]
    return "".join(f"{piece} {i}\n" for i, piece in enumerate([*pieces, "<blk>"]))


def main() -> None:
    """Write a model's files for sherpa-onnx, and random weights for both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=4, help="of 24")
    parser.add_argument("--model", help="a model in float32 instead, as for `nemotron-asr transcribe`")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # advice to simplify a graph before its weights are quantised
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.model:
        checkpoint = load_checkpoint(arguments.model)
    else:
        config = replace(RELEASED, n_layers=arguments.layers, max_symbols=MAX_SYMBOLS)
        checkpoint = random_checkpoint(recording(18), config)
        save_checkpoint(checkpoint, arguments.folder / "model", "native")
    for latency in (80, 1120):
        export(checkpoint, arguments.folder / str(latency), latency)


if __name__ == "__main__":
    main()
