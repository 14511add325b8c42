"""The figures in the pages are those that `evaluate` printed."""

import pytest

from nemotron_asr.evaluation.judging import judge
from nemotron_asr.evaluation.report import make_report
from nemotron_asr.evaluation.tables import to_markdown
from recipes.tiny.figures import MARKED, PAGES, refreshed, reported, rewrite
from tests.evaluation.conftest import recognition

PAGE = """Some words.

<!-- figures of dev -->
| locale | clips | auto 80 ms |
|---|---|---|
| de-DE | 7 | 0.00 |
| average | 9 | 0.00 |

<!-- figures of dev -->
| language | latency | average | delay, median |
|---|---|---|---|
| auto | 80 ms | 0.00 | never |

| locale | clips | auto 80 ms |
|---|---|---|
| of | another | day |
"""


@pytest.fixture
def report() -> str:
    recognitions = [
        recognition("eins zwei drei vier", "eins zwei drei fünf", audio="1"),
        recognition("eins zwei", "eins zwei", audio="2", locale="pl-PL"),
    ]
    return to_markdown(make_report("tiny", map(judge, recognitions)))


def test_marked_tables_keep_their_rows_and_columns(report: str) -> None:
    assert rewrite(PAGE, {"dev": report}).splitlines()[5:12] == [
        "| de-DE | 7 | 25.00 |",
        "| average | 9 | 12.50 |",
        "",
        "<!-- figures of dev -->",
        "| language | latency | average | delay, median |",
        "|---|---|---|---|",
        "| auto | 80 ms | 12.50 | -0.50 s |",
    ]


def test_the_rest_of_a_page_stays(report: str) -> None:
    assert rewrite(PAGE, {"eval": report}) == PAGE
    assert rewrite(PAGE, {"dev": report}).endswith("| of | another | day |\n")


def test_a_row_that_was_not_measured_is_named(report: str) -> None:
    with pytest.raises(ValueError, match="about it-IT; there are de-DE, pl-PL, average"):
        refreshed("| locale | auto 80 ms |\n|---|---|\n| it-IT | 0.00 |\n", reported(report))


def test_the_pages_have_such_tables() -> None:
    assert [len(MARKED.findall(page.read_text(encoding="utf-8"))) for page in PAGES] == [3, 2]
