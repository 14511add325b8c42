"""The model: mel frames, language and state in; transducer scores and state out. No kernels, no input or output.

encoder.py       the cache-aware FastConformer: subsampling.py, then blocks of conformer.py
prompt.py        the language
transducer.py    predictor and joint
"""

from torch import nn

from nemotron_asr.config import ModelConfig
from nemotron_asr.model.encoder import Encoder, EncoderState, encoder_frames
from nemotron_asr.model.prompt import Prompt
from nemotron_asr.model.transducer import PredictorState, Transducer

__all__ = ["Encoder", "EncoderState", "NemotronASR", "PredictorState", "Prompt", "Transducer", "encoder_frames"]


class NemotronASR(nn.Module):
    """Encoder, language prompt and transducer; the three are called one after the other by whoever owns the state."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.prompt = Prompt(config)
        self.transducer = Transducer(config)
