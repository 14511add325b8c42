"""The model card of a fine-tuned model."""

from collections.abc import Mapping
from pathlib import Path

from nemotron_asr.checkpoint import Checkpoint
from nemotron_asr.training.options import FinetuneConfig
from nemotron_asr.training.watching import Scores

MODES = {"auto": "language found by the model", "language": "language given"}


def model_card(
    config: FinetuneConfig,
    checkpoint: Checkpoint,
    step: int,
    hours: Mapping[str, float],
    before: Scores,
    after: Scores,
) -> str:
    """What a model was made from, how, and what it can do: Markdown.

    Args:
        config: how it was fine-tuned.
        checkpoint: the model that came.
        step: steps after which these weights were averaged.
        hours: of audio per locale.
        before: validation of the model that came.
        after: validation of this one.
    """
    method = f"LoRA of rank {config.lora_rank}" if config.lora_rank else "all weights"
    method = "all weights but the encoder's" if config.freeze_encoder else method
    heard = ", ".join(f"{locale} {value:.2f} h" for locale, value in sorted(hours.items()))
    manifests = ", ".join(f"`{Path(*source.manifest.parts[-2:])}`" for source in config.train)
    licence = checkpoint.about.get("licence", "that of the model it was made from; mind those of the recordings")
    lines = [
        f"# Fine-tuned from {config.model}",
        "",
        f"- trained: {method}, {step} steps of {config.accumulate} x {config.batch_seconds:g} s of audio",
        f"- on: {heard} ({manifests})",
        f"- peak learning rate {config.peak_lr:g}, all latencies at once, half of the samples without a language",
        f"- licence: {licence}",
        "",
        f"Error rates on the validation clips at {config.latency_ms} ms, before -> after: of words, and of characters",
        "in Chinese, Japanese, Korean and Thai. The best of several checkpoints was chosen on these clips: on others",
        "it is a little worse.",
        "",
        *score_table(before, after),
        "",
    ]
    return "\n".join(lines)


def score_table(before: Scores, after: Scores) -> list[str]:
    """A Markdown row per locale, a column per mode."""
    lines = ["| locale |" + "".join(f" {MODES[mode]} |" for mode in after), "|---|" + "---|" * len(after)]
    return lines + [f"| {' | '.join(row)} |" for row in score_rows(before, after)]


def score_rows(before: Scores, after: Scores) -> list[tuple[str, ...]]:
    """Error rates before -> after, per locale and for all; last, languages found, if the model can name them."""
    locales = list(dict.fromkeys(locale for score in after.values() for locale in score.languages))
    rows = [
        (locale, *(_change(_rate(before, mode, locale), _rate(after, mode, locale)) for mode in after))
        for locale in [*locales, "all"]
    ]
    if "auto" in after and after["auto"].detected is not None:
        found = [score["auto"].detected if "auto" in score else None for score in (before, after)]
        rows.append(("language right", _change(*found), *("" for _ in range(len(after) - 1))))
    return rows


def _rate(scores: Scores, mode: str, locale: str) -> float | None:
    if mode not in scores:
        return None
    return scores[mode].wer if locale == "all" else scores[mode].languages.get(locale)


def _change(before: float | None, after: float | None) -> str:
    return " -> ".join("-" if value is None else f"{value:.1%}" for value in (before, after))
