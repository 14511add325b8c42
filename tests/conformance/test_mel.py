"""The front end against transformers', on real recordings."""

import torch

from nemotron_asr.config import ModelConfig
from nemotron_asr.features import LogMel
from tests.conftest import Sample
from tests.test_features import whole


def test_mel_features_agree(samples: list[Sample]) -> None:
    from transformers import NemotronAsrStreamingFeatureExtractor

    extractor = NemotronAsrStreamingFeatureExtractor(feature_size=128)
    for sample in samples:
        inputs = extractor(sample.audio, sampling_rate=16000, return_tensors="pt")
        theirs = inputs.input_features[0][: int(inputs.attention_mask.sum())]
        ours = whole(LogMel(ModelConfig()), sample.audio)
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-3


def test_reduced_precision_filters_agree(samples: list[Sample]) -> None:
    from transformers import NemotronAsrStreamingFeatureExtractor

    extractor = NemotronAsrStreamingFeatureExtractor(feature_size=128, mel_filters_dtype="bfloat16")
    inputs = extractor(samples[0].audio, sampling_rate=16000, return_tensors="pt")
    ours = whole(LogMel(ModelConfig(mel_dtype="bfloat16")), samples[0].audio)
    assert (ours - inputs.input_features[0][: len(ours)]).abs().max() < 1e-3
    assert torch.isfinite(ours).all()
