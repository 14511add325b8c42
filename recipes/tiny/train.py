"""Trains `tiny`, the embedded model. Run it again after a kill: it goes on where it was.

    python -m recipes.tiny.train --data WORK --output WORK/run --steps 100000

`WORK` holds `tokenizer.model`, `dev.jsonl` and any number of `human*.jsonl`, `spliced*.jsonl` and `synthetic*.jsonl`.
"""

import argparse
import ctypes
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from nemotron_asr.checkpoint import load_checkpoint, to_float
from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.augment import AugmentConfig
from nemotron_asr.training.data import DataConfig, Source
from nemotron_asr.training.initialise import initialise
from nemotron_asr.training.objective import ObjectiveConfig
from nemotron_asr.training.trainer import TrainingConfig, train
from recipes.tiny.deepen import deepened

log = logging.getLogger(__name__)

CONFIG = ModelConfig(
    d_model=176, n_layers=8, n_heads=4, d_ff=704, conv_kernel=9, subsampling_channels=32, left_context=56,
    d_prompt=256, d_pred=256, pred_layers=1, d_joint=256, vocab_size=1024, dropout=0.0,
)  # fmt: skip
"""Without dropout, for so small a model does not fit even what it hears."""

AUGMENT = AugmentConfig(
    speed=(0.9, 1.12), speed_probability=0.5, reverberation_probability=0.1, noise_probability=0.25,
    noise_snr=(10.0, 30.0), level=(-30.0, -20.0), vocal_tract_probability=0.4, vocal_tract=(0.82, 1.2),
    frequency_width=20, time_masks=5, tail_probability=0.4, non_speech_probability=0.06,
)  # fmt: skip
"""Milder than for a large model, which learns more, but with vocal tracts of every length: six people are few. Their
clips end with their words, as speech seldom does: without tails of silence the language tag is often forgotten there,
and without clips in which nobody speaks there are letters in loud noise."""

LOOKAHEADS = (13, 13, 13, 6, 3, 0)
"""Drawn from evenly: half of the batches see the whole second that the default latency allows."""

SYNTHETIC_ONLY = dict.fromkeys(("es-ES", "fr-FR", "pl-PL", "pt-BR", "sv-SE", "tr-TR", "uk-UA"), 0.4)
"""Languages that no human speaks in the data are drawn less often."""


def keep_freed_memory() -> None:
    """Tell glibc not to give memory back after every step: fresh pages cost as much as the arithmetic."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 2**28)


def named_weight(text: str) -> tuple[str, float]:
    """What `de-DE=2` says."""
    name, _, weight = text.partition("=")
    return name, float(weight)


def arguments() -> argparse.ArgumentParser:
    """What the command line may say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True)
    add("--output", type=Path, required=True)
    add("--weights", help="a model whose weights a new run begins with, e.g. tiny; it may have fewer blocks")
    add("--steps", type=int, default=100_000)
    add("--cooldown", type=int, default=10_000, help="last steps, over which the learning rate vanishes")
    add("--peak-lr", type=float, default=2e-3)
    add("--warmup", type=int, default=1000)
    add("--ctc-steps", type=int, default=2500, help="first steps, which train the encoder alone")
    add("--batch-seconds", type=float, default=60.0)
    add("--human-weight", type=float, default=6.0, help="how often a human clip is drawn per synthetic one")
    add("--spliced-weight", type=float, default=1.2, help="the same of a spliced clip")
    add("--locale-weight", type=named_weight, nargs="+", default=[], help="how often a locale is drawn, e.g. de-DE=2")
    add("--manifest-weight", type=named_weight, nargs="+", default=[], help="a manifest, e.g. human-festvox=0.25")
    add("--history-dropout", type=float, default=0.3, help="tokens that the predictor does not see")
    add("--split-probability", type=float, default=0.1, help="of a piece to be written as two")
    add("--ctc-weight", type=float, default=1.0, help="of the letters' loss beside the transducer's")
    add("--workers", type=int, default=1)
    add("--threads", type=int, default=1)
    add("--device", default="cpu")
    add("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    add("--seed", type=int, default=0)
    add("--validate-every", type=int, default=1000)
    return parser


def data_config(options: argparse.Namespace) -> DataConfig:
    """What is heard, and how often."""
    weights = {"human": options.human_weight, "spliced": options.spliced_weight, "synthetic": 1.0}
    factors = dict(options.manifest_weight)
    sources = [
        Source(manifest, weight=weight * factors.get(manifest.stem, 1.0), synthetic=kind == "synthetic")
        for kind, weight in weights.items()
        for manifest in sorted(options.data.glob(f"{kind}*.jsonl"))
    ]
    return DataConfig(
        sources=tuple(sources),
        cache=options.data / "cache",
        seed=options.seed,
        batch_seconds=options.batch_seconds,
        augment=AUGMENT,
        language_weights={**SYNTHETIC_ONLY, **dict(options.locale_weight)},
        lookaheads=LOOKAHEADS,
        split_probability=options.split_probability,
    )


def training_config(options: argparse.Namespace) -> TrainingConfig:
    """How long it is trained, and how."""
    return TrainingConfig(
        data=data_config(options),
        output=options.output,
        steps=options.steps,
        validation=(options.data / "dev.jsonl",),
        peak_lr=options.peak_lr,
        warmup=options.warmup,
        ctc_steps=options.ctc_steps,
        cooldown=min(options.cooldown, options.steps),
        device=options.device,
        objective=ObjectiveConfig(bfloat16=options.bfloat16, history_dropout=options.history_dropout),
        ctc_weight=options.ctc_weight,
        workers=options.workers,
        validate_every=options.validate_every,
    )


def with_ends(tokenizer: Tokenizer) -> ModelConfig:
    """`CONFIG` of a model whose utterances end with their tag."""
    return replace(CONFIG, final_tokens=tuple(sorted(tokenizer.language_tags)))


def first_model(weights: str | None, config: ModelConfig) -> NemotronASR:
    """With random weights, or with those of another model."""
    model = NemotronASR(config)
    if weights:
        model.load_state_dict(deepened(to_float(load_checkpoint(weights).weights), config.n_layers))
    else:
        initialise(model)
    parameters = sum(p.numel() for p in model.parameters())
    log.info("%.2f M parameters", parameters / 1e6)
    return model


def main() -> None:
    """Reads the command line and trains."""
    options = arguments().parse_args()
    logging.basicConfig(
        level=logging.INFO if int(os.environ.get("RANK", "0")) == 0 else logging.WARNING,
        format="%(asctime)s %(message)s",
        stream=sys.stdout,
    )
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = Tokenizer.from_sentencepiece((options.data / "tokenizer.model").read_bytes())
    train(training_config(options), first_model(options.weights, with_ends(tokenizer)), tokenizer)


if __name__ == "__main__":
    main()
