"""A report as tables for people: aligned text, or Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from nemotron_asr.evaluation.calibration import BINS, pool
from nemotron_asr.evaluation.normalisation import metric
from nemotron_asr.evaluation.recognition import Mode
from nemotron_asr.evaluation.report import Detection, LocaleScore, MannerScore, Report
from nemotron_asr.evaluation.scoring import Counts
from nemotron_asr.languages import LANGUAGES

TIERS = {language.locale: language.tier for language in LANGUAGES}
GIVEN = {Mode.LANGUAGE: "given", Mode.AUTO: "auto"}
"""How tables call what the model is told."""

ERRORS = ("substituted", "left out", "put in")


@dataclass(frozen=True)
class Table:
    """Rows of as many cells as there are headings."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def to_text(report: Report) -> str:
    """Columns that line up in a terminal."""
    return "\n".join(f"{table.title}\n\n{_columns(table)}\n" for table in tables(report))


def to_markdown(report: Report) -> str:
    """Tables as Markdown has them."""
    return "\n".join(f"### {table.title}\n\n{_pipes(table)}\n" for table in tables(report))


def tables(report: Report) -> list[Table]:
    """All tables that have something to say."""
    skipped = Table("Left out", ("what, and why",), tuple((reason,) for reason in report.skipped))
    made = [_card(report), _manners(report), _details(report), _detections(report), _calibration(report), skipped]
    return [table for table in made if table.rows]


def _columns(table: Table) -> str:
    rows = [table.headings, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _pipes(table: Table) -> str:
    rows = [table.headings, ("---",) * len(table.headings), *table.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)


def _card(report: Report) -> Table:
    """Error rates as the released model's card has them: locales below each other, latencies side by side."""
    manners = [(manner.mode, manner.latency_ms) for manner in report.manners]
    rates = {(score.locale, score.mode, score.latency_ms): score.rate for score in report.locales}
    locales = list(dict.fromkeys(score.locale for score in report.locales))

    def cells(chosen: Sequence[str]) -> Iterator[str]:
        for manner in manners:
            found = [rates[locale, *manner] for locale in chosen if (locale, *manner) in rates]
            yield _percent(fmean(found)) if found else ""

    rows: list[tuple[str, ...]] = []
    for tier in dict.fromkeys(TIERS.get(locale) for locale in locales):
        chosen = [locale for locale in locales if TIERS.get(locale) is tier]
        rows += [(locale, metric(locale), *cells([locale])) for locale in chosen]
        rows += [(f"average, {tier or 'others'}", "", *cells(chosen))] if len(chosen) > 1 else []
    rows += [("average", "", *cells(locales))] if len({*map(TIERS.get, locales)}) > 1 else []
    headings = (f"{GIVEN[mode]} {latency} ms" for mode, latency in manners)
    return Table("Error rates, %, language given or found out", ("locale", "rate", *headings), tuple(rows))


def _manners(report: Report) -> Table:
    headings = (
        "language", "latency", "average, %", "95 %", *ERRORS, "language right, %", "delay, median", "90 %",
        "real-time factor", "calibration error, %",
    )  # fmt: skip
    return Table("By latency", headings, tuple(map(_manner, report.manners)))


def _manner(score: MannerScore) -> tuple[str, ...]:
    delays = [f"{delay:.2f} s" for delay in score.delay or ()] or ["", ""]
    return (
        GIVEN[score.mode], f"{score.latency_ms} ms", _percent(score.rate), _range(score.interval),
        *_errors(score.counts), _percent(score.language_right), *delays, f"{score.real_time_factor:.3f}",
        _percent(score.calibration_error),
    )  # fmt: skip


def _details(report: Report) -> Table:
    headings = ("locale", "language", "latency", "clips", "units", "rate, %", "95 %", *ERRORS, "language right, %")
    ordered = sorted(report.locales, key=lambda score: list(TIERS).index(score.locale) if score.locale in TIERS else 99)
    return Table(
        "By locale: errors in % of the words, or characters, that were said", headings, tuple(map(_detail, ordered))
    )


def _detail(score: LocaleScore) -> tuple[str, ...]:
    return (
        score.locale, GIVEN[score.mode], f"{score.latency_ms} ms", str(score.clips), str(score.counts.units),
        _percent(score.rate), _range(score.interval), *_errors(score.counts), _percent(score.language_right),
    )  # fmt: skip


def _detections(report: Report) -> Table:
    rows = tuple(map(_detection, report.detections))
    return Table("Languages found", ("locale", "latency", "clips", "right, %", "taken for"), rows)


def _detection(found: Detection) -> tuple[str, ...]:
    clips = sum(found.detected.values())
    others = ", ".join(f"{name or 'none'} {n}" for name, n in found.detected.items() if name != found.locale)
    right = found.detected.get(found.locale, 0) / clips
    return found.locale, f"{found.latency_ms} ms", str(clips), _percent(right), others


def _calibration(report: Report) -> Table:
    rows = tuple(
        (f"{b.low:.1f} - {b.low + 1 / BINS:.1f}", str(b.words), _percent(b.confidence), _percent(b.right))
        for b in pool(manner.calibration for manner in report.manners)
    )
    return Table("Confidence of words, all latencies", ("confidence", "words", "mean, %", "right, %"), rows)


def _errors(counts: Counts) -> Iterator[str]:
    for number in (counts.substitutions, counts.deletions, counts.insertions):
        yield _percent(number / counts.units)


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"


def _range(bounds: tuple[float, float]) -> str:
    return f"{_percent(bounds[0])} - {_percent(bounds[1])}"
