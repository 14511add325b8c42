"""The sizes and settings of one model: frozen, flat, with the meaning and the unit beside each field."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nemotron_asr.errors import ConfigError, OptionError

SAMPLE_RATE = 16_000
"""Samples per second that every model of this family hears."""

HOP = 160
"""Samples between two mel frames (10 ms)."""

SUBSAMPLING = 8
"""Mel frames per encoder frame."""

FRAME_SAMPLES = HOP * SUBSAMPLING
"""Samples per encoder frame: 1,280, which is 80 ms."""

FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
"""The clock's tick: every time in a transcript is a multiple of it."""

FRAME_MS = round(1000 * FRAME_SECONDS)

LATENCIES = {80: 0, 160: 1, 320: 3, 560: 6, 1120: 13}
"""Latency in milliseconds -> lookahead in encoder frames; a chunk is lookahead + 1 frames."""

MOST = {"left_context": 4096, "max_symbols": 1000}
"""Sizes that no tensor vouches for, and how large they may be; the released models have 70 and 10 at most."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything a checkpoint says about its architecture. The defaults are Nemotron 3.5's.

    A model without prompts (the English sibling) has `n_prompts == 0` and no `prompts`.
    """

    n_mels: int = 128  # mel bins per frame
    preemphasis: float = 0.97  # first-order high-pass before the spectrogram; 0 is none
    mel_dtype: str = "float32"  # precision to which the mel filters and the window are rounded before use

    d_model: int = 1024  # width of an encoder frame
    n_layers: int = 24  # conformer blocks
    n_heads: int = 8  # attention heads per block
    d_ff: int = 4096  # width inside a feed-forward
    conv_kernel: int = 9  # encoder frames seen by the causal depthwise convolution
    subsampling_channels: int = 256  # channels of the three stride-2 convolutions
    use_bias: bool = False  # biases in the blocks' linears and convolutions
    xscaling: bool = False  # multiply the subsampled frames by sqrt(d_model)

    left_context: int = 56  # encoder frames of the past that attention sees
    lookaheads: tuple[int, ...] = (3, 0, 6, 13)  # encoder frames of the future, as trained; the default comes first

    n_prompts: int = 128  # rows of the language prompt; 0: the model takes no prompt
    d_prompt: int = 2048  # width inside the prompt's fusion
    default_prompt: int = 101  # the prompt when no language is given ("auto")
    prompts: Mapping[str, int] = field(default_factory=dict)  # language -> prompt row; empty: the built-in table

    vocab_size: int = 13087  # tokens without blank; blank is the id after the last
    d_pred: int = 640  # width of the predictor's embedding and LSTM
    pred_layers: int = 2  # LSTM layers of the predictor
    d_joint: int = 640  # width of the joint
    max_symbols: int = 10  # tokens that one encoder frame may emit
    final_tokens: tuple[int, ...] = ()  # that end an utterance: the predictor starts anew behind them, if trained so

    dropout: float = 0.1  # probability, in training only

    def __post_init__(self) -> None:
        sizes = ("n_mels", "d_model", "n_layers", "n_heads", "d_ff", "conv_kernel", "subsampling_channels",
                 "vocab_size", "d_pred", "pred_layers", "d_joint", "max_symbols")  # fmt: skip
        for name in sizes:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at most {most}")
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ConfigError(f"d_model {self.d_model} is not an even multiple of the {self.n_heads} heads")
        if beyond := [token for token in self.final_tokens if not 0 <= token < self.vocab_size]:
            raise ConfigError(f"final_tokens has {beyond[0]}; the tokens are 0..{self.vocab_size - 1}")
        if self.mel_dtype not in {"float32", "bfloat16", "float16"}:
            raise ConfigError(f"mel_dtype {self.mel_dtype!r} is unknown; choose float32, bfloat16 or float16")
        if self.n_prompts and not 0 <= self.default_prompt < self.n_prompts:
            raise ConfigError(f"default_prompt {self.default_prompt} is outside 0..{self.n_prompts - 1}")

    @property
    def blank(self) -> int:
        """The blank's token id, which is also the predictor's start symbol."""
        return self.vocab_size


def chunk_frames(latency_ms: int) -> int:
    """Encoder frames per chunk at a latency.

    Raises:
        OptionError: the latency is not one of `LATENCIES`.
    """
    if latency_ms not in LATENCIES:
        choices = ", ".join(map(str, LATENCIES))
        raise OptionError(f"latency {latency_ms!r} ms is not offered; choose {choices}", "latency_ms")
    return LATENCIES[latency_ms] + 1
