"""A report as a picture: error rate against latency and delay, and per locale."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nemotron_asr.errors import OptionError
from nemotron_asr.evaluation.recognition import Mode
from nemotron_asr.evaluation.report import LocaleScore, MannerScore, Report

Values = NDArray[np.float64]

LABELS = {Mode.LANGUAGE: "language given", Mode.AUTO: "language found out"}


def check_name(path: Path) -> None:
    """Make sure that a picture can be written under a name, before it is drawn.

    Raises:
        OptionError: no picture ends like that.
    """
    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in kinds:
        raise OptionError(f"{path} does not say what kind of picture it is; end it with .{', .'.join(sorted(kinds))}")


def save_plot(report: Report, path: Path) -> None:
    """Draw a report into a file, whose suffix says how: `.png`, `.svg`, `.pdf` and others."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    panes = figure.subplot_mosaic("AB;CC")
    _curves(panes["A"], report, lambda score: score.latency_ms)
    panes["A"].set(xlabel="latency, ms", ylabel="error rate, %")
    panes["A"].set_xticks(sorted({score.latency_ms for score in report.manners}))
    _curves(panes["B"], report, lambda score: 1000 * score.delay[0] if score.delay else None)
    panes["B"].set(xlabel="median delay from a word's end to its first appearance, ms", ylabel="error rate, %")
    _bars(panes["C"], report)
    locales = len({score.locale for score in report.locales})
    figure.suptitle(f"{report.model}, mean of {locales} locales" if locales > 1 else report.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _curves(axes: Axes, report: Report, place: Callable[[MannerScore], float | None]) -> None:
    """A line for each mode through the scores that have a place."""
    placed = [(x, score) for score in report.manners if (x := place(score)) is not None]
    for mode in dict.fromkeys(score.mode for _, score in placed):
        points = [(x, score) for x, score in placed if score.mode == mode]
        rates, margins = _with_margins([score for _, score in points])
        axes.errorbar([x for x, _ in points], rates, margins, marker="o", capsize=3, label=LABELS[mode])
    if placed:
        axes.legend()
    axes.grid(alpha=0.3)


def _bars(axes: Axes, report: Report) -> None:
    """A group of bars for each locale, at the highest latency."""
    highest = max(score.latency_ms for score in report.locales)
    chosen = [score for score in report.locales if score.latency_ms == highest]
    locales, modes = (list(dict.fromkeys(names)) for names in zip(*((s.locale, s.mode) for s in chosen), strict=True))
    width = 0.8 / len(modes)
    for number, mode in enumerate(modes):
        scores = [score for score in chosen if score.mode == mode]
        places = [locales.index(score.locale) + (number - (len(modes) - 1) / 2) * width for score in scores]
        rates, margins = _with_margins(scores)
        axes.bar(places, rates, width, yerr=margins, capsize=2, label=LABELS[mode])
    axes.set_xticks(range(len(locales)), locales, rotation=45 if len(locales) > 12 else 0)
    axes.set(ylabel=f"error rate at {highest} ms, %")
    axes.legend()


def _with_margins(scores: Sequence[MannerScore | LocaleScore]) -> tuple[Values, Values]:
    """Rates (n) and the distances to the ends of their intervals (2, n), in percent."""
    rates = np.array([score.rate for score in scores])
    bounds = np.array([score.interval for score in scores]).T
    return 100 * rates, 100 * abs(bounds - rates)
