"""All figures of an evaluation, from recognitions made by hand."""

import json
from random import Random

import pytest

from nemotron_asr.evaluation.judging import judge
from nemotron_asr.evaluation.recognition import Mode, Recognition
from nemotron_asr.evaluation.report import Report, make_report
from nemotron_asr.evaluation.scoring import Counts
from nemotron_asr.evaluation.tables import tables, to_markdown, to_text
from tests.evaluation.conftest import recognition

HEARINGS = [
    recognition("eins zwei drei vier", "eins zwei drei vier", audio="1"),
    recognition("eins zwei", "eins drei", audio="2", detected="nl-NL"),
    recognition("a b c d", "a b x d e", audio="3", locale="pl-PL", detected=None),
    recognition("十一", "十二", audio="4", locale="zh-CN", detected="zh-CN"),
    recognition("eins zwei drei vier", "eins zwei drei vier", audio="1", mode=Mode.LANGUAGE),
    recognition("eins zwei", "eins zwei", audio="2", latency_ms=1120, compute=0.1, ends=(0.6,)),
]


def report_on(recognitions: list[Recognition]) -> Report:
    return make_report("tiny", map(judge, recognitions), ["a.wav: no audio"])


def test_manners_come_with_the_given_language_first_and_locales_best_tier_first() -> None:
    report = report_on(HEARINGS)
    assert [(m.mode, m.latency_ms, m.clips) for m in report.manners] == [
        (Mode.LANGUAGE, 80, 1),
        (Mode.AUTO, 80, 4),
        (Mode.AUTO, 1120, 1),
    ]
    assert [score.locale for score in report.locales] == ["de-DE", "de-DE", "pl-PL", "zh-CN", "de-DE"]


def test_figures_of_a_locale() -> None:
    german = report_on(HEARINGS).locales[1]
    assert (german.clips, german.metric, german.counts) == (2, "WER", Counts(hits=5, substitutions=1))
    assert german.rate == pytest.approx(1 / 6)
    assert german.interval[0] == 0
    assert german.interval[1] == pytest.approx(1 / 2)
    assert german.language_right == 1 / 2


def test_figures_of_a_manner() -> None:
    given, auto, late = report_on(HEARINGS).manners
    assert auto.rate == pytest.approx((1 / 6 + 2 / 4 + 1 / 2) / 3)  # locales count alike
    assert auto.counts == Counts(hits=9, substitutions=3, insertions=1)
    assert auto.interval[0] <= auto.rate <= auto.interval[1]
    assert auto.language_right == 2 / 4
    assert auto.real_time_factor == pytest.approx(0.25)
    assert given.language_right is None
    assert given.calibration_error == pytest.approx(0.1)
    assert late.delay == pytest.approx((0.4, 0.4))


def test_languages_are_told_apart() -> None:
    found = {(d.locale, d.latency_ms): d.detected for d in report_on(HEARINGS).detections}
    assert found == {
        ("de-DE", 80): {"de-DE": 1, "nl-NL": 1},
        ("pl-PL", 80): {"": 1},
        ("zh-CN", 80): {"zh-CN": 1},
        ("de-DE", 1120): {"de-DE": 1},
    }


def test_a_model_without_tags_is_neither_right_nor_wrong_about_languages() -> None:
    recognitions = [recognition("eins zwei", "eins zwei", detected=None), HEARINGS[4]]
    report = make_report("english", map(judge, recognitions), names_languages=False)
    assert [manner.language_right for manner in report.manners] == [None, None]
    assert [score.language_right for score in report.locales] == [None, None]
    assert report.detections == ()
    assert "Languages found" not in to_text(report)


def test_the_order_of_hearings_is_nothing() -> None:
    shuffled = HEARINGS[:]
    Random(0).shuffle(shuffled)
    assert report_on(shuffled) == report_on(HEARINGS)


def test_nothing_heard_is_no_report() -> None:
    with pytest.raises(ValueError, match="nothing was heard"):
        report_on([])


def test_json_holds_every_figure() -> None:
    entry = json.loads(json.dumps(report_on(HEARINGS).to_dict()))
    assert list(entry) == ["model", "manners", "locales", "detections", "skipped", "beam"]
    assert entry["skipped"] == ["a.wav: no audio"]
    assert entry["manners"][1]["counts"] == {"hits": 9, "substitutions": 3, "deletions": 0, "insertions": 1}
    assert entry["manners"][1]["calibration"][0].keys() == {"low", "words", "confidence", "right"}


def test_the_first_table_is_shaped_as_the_card() -> None:
    card = tables(report_on(HEARINGS))[0]
    assert card.headings == ("locale", "rate", "given 80 ms", "auto 80 ms", "auto 1120 ms")
    assert card.rows == (
        ("de-DE", "WER", "0.00", "16.67", "0.00"),
        ("pl-PL", "WER", "", "50.00", ""),
        ("zh-CN", "CER", "", "50.00", ""),
        ("average, broad-coverage", "", "", "50.00", ""),
        ("average", "", "0.00", "38.89", "0.00"),
    )


def test_tables_have_a_cell_for_every_heading() -> None:
    made = tables(report_on(HEARINGS))
    assert len(made) == 6
    assert made[5].rows == (("a.wav: no audio",),)
    assert all(len(row) == len(table.headings) for table in made for row in table.rows)
    assert ("de-DE", "80 ms", "2", "50.00", "nl-NL 1") in made[3].rows
    assert ("pl-PL", "80 ms", "1", "0.00", "none 1") in made[3].rows


def test_text_lines_up_and_markdown_has_pipes() -> None:
    report = report_on(HEARINGS)
    lines = to_text(report).splitlines()
    row = next(line for line in lines if line.startswith("de-DE"))
    heading = lines[lines.index(row) - 1]
    assert row.index("16.67") == heading.index("auto 80 ms")
    assert "| de-DE | WER | 0.00 | 16.67 | 0.00 |" in to_markdown(report).splitlines()


def test_a_model_that_says_nothing_is_reported_on() -> None:
    report = report_on([recognition("eins zwei", "", detected=None)])
    assert report.manners[0].rate == 1
    assert report.manners[0].delay is None
    assert report.manners[0].calibration_error is None
    assert "Confidence" not in to_text(report)
    assert to_text(report)
