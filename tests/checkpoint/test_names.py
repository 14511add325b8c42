"""The name tables cover every parameter, one to one; whatever does not fit is named."""

import pytest
import torch
from torch import Tensor
from transformers import Nemotron3_5AsrForRNNT, NemotronAsrStreamingForRNNT

from nemotron_asr.benchmark.pair import theirs_config
from nemotron_asr.checkpoint import Checkpoint
from nemotron_asr.checkpoint.names import Format, pack, slots, translate, unpack
from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import CheckpointError


def shapes(config: ModelConfig, target: Format) -> dict[str, torch.Size]:
    return {name: slot.shape for name, slot in slots(config, target).items()}


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("n_prompts", [0, 9])
def test_names_and_shapes_are_those_of_transformers(use_bias: bool, n_prompts: int) -> None:
    config = ModelConfig(
        n_mels=32, d_model=48, n_layers=2, n_heads=4, d_ff=96, subsampling_channels=8, use_bias=use_bias,
        n_prompts=n_prompts, d_prompt=64, default_prompt=0, vocab_size=40, d_pred=24, d_joint=24,
    )  # fmt: skip
    model = (Nemotron3_5AsrForRNNT if n_prompts else NemotronAsrStreamingForRNNT)(theirs_config(config))
    assert shapes(config, Format.HUGGING_FACE) == {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_the_released_size() -> None:
    config = ModelConfig()
    assert len(slots(config, Format.HUGGING_FACE)) == len(slots(config, Format.NEMO)) == 655
    for target in Format:
        assert sum(shape.numel() for shape in shapes(config, target).values()) == 637_997_088


@pytest.mark.parametrize(
    ("ours", "hugging_face", "nemo"),
    [
        ("encoder.blocks.17.attention.content_bias", "encoder.layers.17.self_attn.bias_u",
         "encoder.layers.17.self_attn.pos_bias_u"),
        ("encoder.blocks.0.conv.norm.bias", "encoder.layers.0.conv.norm.bias", "encoder.layers.0.conv.batch_norm.bias"),
        ("encoder.subsampling.pointwise.1.weight", "encoder.subsampling.layers.1.pointwise_conv.weight",
         "encoder.pre_encode.conv.6.weight"),
        ("transducer.lstm.weight_hh_l1", "decoder.lstm.weight_hh_l1", "decoder.prediction.dec_rnn.lstm.weight_hh_l1"),
    ],
)  # fmt: skip
def test_translation(ours: str, hugging_face: str, nemo: str) -> None:
    assert translate(ours, Format.NATIVE) == ours
    assert translate(ours, Format.HUGGING_FACE) == hugging_face
    assert translate(ours, Format.NEMO) == nemo


@pytest.mark.parametrize("target", Format)
def test_there_and_back(checkpoint: Checkpoint, target: Format) -> None:
    packed = pack(checkpoint.weights, checkpoint.config, target)
    assert {name: tensor.shape for name, tensor in packed.items()} == shapes(checkpoint.config, target)
    again = unpack(packed, checkpoint.config, target)
    assert again.keys() == checkpoint.weights.keys()
    for name, tensor in again.items():
        torch.testing.assert_close(tensor, checkpoint.weights[name], rtol=0, atol=0)


def test_a_language_is_a_column_of_the_prompt(prompted: Checkpoint) -> None:
    packed = pack(prompted.weights, prompted.config, Format.NEMO)["prompt_kernel.0.weight"]
    one_hot = torch.nn.functional.one_hot(torch.tensor(7), prompted.config.n_prompts).float()
    expected = packed[:, prompted.config.d_model :] @ one_hot
    torch.testing.assert_close(prompted.weights["prompt.language.weight"][7], expected)


def damaged(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return pack(checkpoint.weights, checkpoint.config, Format.HUGGING_FACE)


def test_all_that_is_wrong_is_named(prompted: Checkpoint) -> None:
    tensors = damaged(prompted)
    del tensors["joint.head.bias"]
    tensors["ctc.weight"] = torch.zeros(3)
    tensors["decoder.embedding.weight"] = torch.zeros(2, 3)
    tensors["encoder.subsampling.linear.bias"] = torch.zeros(48, dtype=torch.int64)
    with pytest.raises(CheckpointError) as error:
        unpack(tensors, prompted.config, Format.HUGGING_FACE)
    message = str(error.value)
    assert "1 missing (joint.head.bias)" in message
    assert "1 unexpected (ctc.weight)" in message
    assert "1 of another shape (decoder.embedding.weight [2, 3] instead of [" in message
    assert "1 of an unsupported type (encoder.subsampling.linear.bias torch.int64)" in message
    assert "\n" not in message


def test_long_lists_are_abbreviated(prompted: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"\d\d missing \(([^,]+, ){3}[^,]+ and \d\d more\)$"):
        unpack({}, prompted.config, Format.NEMO)
    unexpected = damaged(prompted) | {f"x{i}" * 200: torch.zeros(1) for i in range(50)}
    with pytest.raises(CheckpointError, match="50 unexpected") as error:
        unpack(unexpected, prompted.config, Format.HUGGING_FACE)
    assert len(str(error.value)) < 1000


def test_sparse_tensors_are_refused(prompted: Checkpoint) -> None:
    tensors = damaged(prompted)
    tensors["joint.head.bias"] = tensors["joint.head.bias"].to_sparse()
    with pytest.raises(CheckpointError, match="unsupported type"):
        unpack(tensors, prompted.config, Format.HUGGING_FACE)


def test_what_is_packed_is_checked(prompted: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        pack({}, prompted.config, Format.NATIVE)
