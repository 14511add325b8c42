"""Ours against NeMo: the same random weights, audio and threads, in one run, taking turns.

    nemotron-asr bench --against nemo               # 4 of 24 layers, a few minutes
    nemotron-asr bench --against nemo --layers 24   # as large as the released model

NeMo loads the weights from the `.nemo` file that ours are saved to. A recording goes through its `forward` and its
decoding, live speech through its buffer and `conformer_stream_step`, as in its own example of cache-aware streaming;
the buffer extracts the features of the whole recording beforehand. NeMo runs in float32. The exit status is 1 when the
tokens of the whole recording differ in float32: live at 80 ms NeMo may differ from its own whole recording.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from nemo.collections.asr.models import ASRModel
from nemo.collections.asr.parts.utils.streaming_utils import CacheAwareStreamingAudioBuffer
from nemo.utils import logging
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.comparison import LEGEND, TASKS, compare, print_headings, recording
from nemotron_asr.benchmark.contenders import Ours, Stopwatch, Tokens
from nemotron_asr.benchmark.random_model import RELEASED, random_checkpoint
from nemotron_asr.checkpoint import Checkpoint, save_checkpoint
from nemotron_asr.engine.building import build_model, make_runner


class NeMo:
    """NeMo, as its examples show."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.model.set_inference_prompt("auto")
        self.encoder = Stopwatch(model.encoder)

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe."""
        self.model.encoder.set_default_att_context_size([RELEASED.left_context, lookahead])
        return self._live(samples) if task == "live" else self._file(samples)

    def _file(self, samples: Samples) -> Tokens:
        model = self.model
        frames, lengths = model(
            input_signal=torch.from_numpy(samples)[None],
            input_signal_length=torch.tensor([len(samples)]),
            prompt_indices=torch.tensor([RELEASED.default_prompt]),
        )
        (said,) = model.decoding.rnnt_decoder_predictions_tensor(frames, lengths, return_hypotheses=True)
        return _tokens(said)

    def _live(self, samples: Samples) -> Tokens:
        model, streaming = self.model, self.model.encoder.streaming_cfg
        buffer = CacheAwareStreamingAudioBuffer(model=model, online_normalization=False)
        buffer.append_audio(samples, stream_id=-1)
        channel, time, length = model.encoder.get_initial_cache_state(batch_size=1)
        hypotheses: Any = None
        predicted: Any = None
        for step, (mel, mel_length) in enumerate(buffer):
            predicted, _, channel, time, length, hypotheses = model.conformer_stream_step(
                processed_signal=mel,
                processed_signal_length=mel_length,
                cache_last_channel=channel,
                cache_last_time=time,
                cache_last_channel_len=length,
                keep_all_outputs=buffer.is_buffer_empty(),
                previous_hypotheses=hypotheses,
                previous_pred_out=predicted,
                drop_extra_pre_encoded=streaming.drop_extra_pre_encoded if step else 0,
                return_transcription=True,
            )
        return _tokens(hypotheses[0])


def _tokens(hypothesis: Any) -> Tokens:
    said: Tensor | list[int] = hypothesis.y_sequence
    return said.tolist() if isinstance(said, Tensor) else list(said)


def in_nemo(checkpoint: Checkpoint) -> NeMo:
    """The same weights in NeMo, by way of a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "random.nemo"
        save_checkpoint(checkpoint, path, "nemo")
        return NeMo(ASRModel.restore_from(str(path), map_location="cpu"))


@torch.inference_mode()
def run(layers: int = 4, rounds: int = 3) -> bool:
    """Measure and print; whether the tokens of the whole recording are the same in float32.

    Args:
        layers: conformer blocks, of full width; the released model has 24.
        rounds: timed, after one to warm up.
    """
    logging.set_verbosity(logging.ERROR)
    checkpoint = random_checkpoint(recording(TASKS[0][2]), replace(RELEASED, n_layers=layers))
    theirs = in_nemo(checkpoint)
    print_headings("nemo-toolkit", layers, rounds)
    same = []
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        ours = Ours(make_runner(*build_model(checkpoint, torch.device("cpu"), dtype)))
        name = str(dtype).removeprefix("torch.")
        same.append(compare((theirs, ours), "float32" if name == "float32" else f"float32, {name}", rounds))
    print(LEGEND)
    return same[0][0]
