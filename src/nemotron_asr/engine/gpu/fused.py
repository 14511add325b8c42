"""The kernels; what each computes is in `plain`."""

from nemotron_asr.engine.gpu.attention import attend
from nemotron_asr.engine.gpu.convolution import convolve, remember
from nemotron_asr.engine.gpu.joint import lstm, most_likely
from nemotron_asr.engine.gpu.norms import add_norm, add_norm_norm, quantize_rows

__all__ = ["add_norm", "add_norm_norm", "attend", "convolve", "lstm", "most_likely", "quantize_rows", "remember"]
