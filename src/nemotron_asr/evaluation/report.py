"""Judged recognitions -> every figure there is."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.evaluation.calibration import Bin, expected_calibration_error, reliability
from nemotron_asr.evaluation.judging import Judged
from nemotron_asr.evaluation.normalisation import metric
from nemotron_asr.evaluation.recognition import Mode
from nemotron_asr.evaluation.scoring import Counts, interval, resample, total
from nemotron_asr.languages import LANGUAGES

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class LocaleScore:
    """How well one locale is heard in one manner.

    Attributes:
        metric: "WER" or "CER".
        rate: errors per word or character.
        interval: of the rate, 95 %, by bootstrap over clips.
        language_right: share of clips whose locale was found; None where it was given, or the model names none.
    """

    locale: str
    metric: str
    mode: Mode
    latency_ms: int
    clips: int
    counts: Counts
    rate: float
    interval: tuple[float, float]
    language_right: float | None


@dataclass(frozen=True)
class MannerScore:
    """How well all locales together are heard in one manner.

    Attributes:
        rate: the mean of the locales' rates.
        interval: of that mean, 95 %.
        delay: seconds from a word's end to its first appearance, median and 90th percentile; None: no end is known.
        delays: the number of words that it is taken from.
        real_time_factor: seconds of computing per second of audio, with as many clips at once as there were.
        calibration: confidence against truth, in bins.
        calibration_error: the expected one; None without words.
    """

    mode: Mode
    latency_ms: int
    clips: int
    counts: Counts
    rate: float
    interval: tuple[float, float]
    delay: tuple[float, float] | None
    delays: int
    real_time_factor: float
    language_right: float | None
    calibration: tuple[Bin, ...]
    calibration_error: float | None


@dataclass(frozen=True)
class Detection:
    """What the clips of one locale were taken for, in auto mode; "" stands for no language at all."""

    locale: str
    latency_ms: int
    detected: dict[str, int]


@dataclass(frozen=True)
class Report:
    """An evaluation. Rates are fractions, times seconds; of the search, `beam` hypotheses were followed."""

    model: str
    manners: tuple[MannerScore, ...]
    locales: tuple[LocaleScore, ...]
    detections: tuple[Detection, ...]
    skipped: tuple[str, ...] = ()
    beam: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The report as `--format json` prints it."""
        return asdict(self)


def make_report(
    model: str, judged: Iterable[Judged], skipped: Sequence[str] = (), beam: int = 1, *, names_languages: bool = True
) -> Report:
    """All figures; the same recognitions, in any order, give the same ones.

    Args:
        model: its name.
        judged: all recognitions.
        skipped: what was left out.
        beam: hypotheses that were followed.
        names_languages: whether the model has tags to name a language with: else it can be neither right nor wrong.

    Raises:
        ValueError: there are no recognitions.
    """
    ordered = sorted(judged, key=lambda j: (_order(j), j.recognition.audio))
    if not ordered:
        raise ValueError("nothing was heard that could be reported on")
    manners, locales, detections = [], [], []
    for (mode, latency), clips in _grouped(ordered, lambda j: (j.recognition.mode, j.recognition.latency_ms)).items():
        groups = list(_grouped(clips, lambda j: j.recognition.locale).values())
        rng = np.random.default_rng(0)  # anew, so that one manner's intervals do not depend on the others
        drawn = [resample([clip.counts for clip in group], rng) for group in groups]
        named = mode is Mode.AUTO and names_languages
        scores = [_locale_score(group, rates, named=named) for group, rates in zip(groups, drawn, strict=True)]
        locales += scores
        manners.append(_manner_score(clips, scores, drawn, named=named))
        if named:
            detections += [_detection(group, latency) for group in groups]
    return Report(model, tuple(manners), tuple(locales), tuple(detections), tuple(skipped), beam)


_PLACES = {language.locale: place for place, language in enumerate(LANGUAGES)}


def _order(judged: Judged) -> tuple[int, int, int, str]:
    recognition = judged.recognition
    place = _PLACES.get(recognition.locale, len(_PLACES))
    return list(Mode).index(recognition.mode), recognition.latency_ms, place, recognition.locale


def _grouped(rows: Iterable[Judged], key: Callable[[Judged], Key]) -> dict[Key, list[Judged]]:
    groups: dict[Key, list[Judged]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _locale_score(clips: Sequence[Judged], rates: NDArray[np.float64], *, named: bool) -> LocaleScore:
    heard, counts = clips[0].recognition, total(clip.counts for clip in clips)
    return LocaleScore(
        locale=heard.locale,
        metric=metric(heard.locale),
        mode=heard.mode,
        latency_ms=heard.latency_ms,
        clips=len(clips),
        counts=counts,
        rate=counts.rate,
        interval=interval(rates),
        language_right=_language_right(clips) if named else None,
    )


def _manner_score(
    clips: Sequence[Judged], locales: Sequence[LocaleScore], rates: Sequence[NDArray[np.float64]], *, named: bool
) -> MannerScore:
    heard = clips[0].recognition
    delays = [delay for clip in clips for delay in clip.delays]
    bins = reliability(pair for clip in clips for pair in clip.confidences)
    audio = sum(clip.recognition.duration for clip in clips)
    return MannerScore(
        mode=heard.mode,
        latency_ms=heard.latency_ms,
        clips=len(clips),
        counts=total(clip.counts for clip in clips),
        rate=float(np.mean([score.rate for score in locales])),
        interval=interval(np.mean(rates, axis=0)),
        delay=(float(np.quantile(delays, 0.5)), float(np.quantile(delays, 0.9))) if delays else None,
        delays=len(delays),
        real_time_factor=sum(clip.recognition.compute for clip in clips) / audio if audio else 0.0,
        language_right=_language_right(clips) if named else None,
        calibration=bins,
        calibration_error=expected_calibration_error(bins),
    )


def _language_right(clips: Sequence[Judged]) -> float:
    return sum(clip.recognition.detected == clip.recognition.locale for clip in clips) / len(clips)


def _detection(clips: Sequence[Judged], latency_ms: int) -> Detection:
    found = Counter(clip.recognition.detected or "" for clip in clips)
    return Detection(clips[0].recognition.locale, latency_ms, dict(found.most_common()))
