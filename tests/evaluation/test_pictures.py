"""Plots and the page of the worst clips."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from nemotron_asr.errors import OptionError
from nemotron_asr.evaluation.judging import judge
from nemotron_asr.evaluation.page import columns, write_page
from nemotron_asr.evaluation.plots import check_name, save_plot
from nemotron_asr.evaluation.recognition import Mode
from nemotron_asr.evaluation.report import make_report
from tests.evaluation.conftest import recognition

JUDGED = [
    judge(recognition("eins zwei drei", "eins zwei drei", audio="good.wav")),
    judge(recognition("eins zwei drei", "eins zwo <b>", audio="sub dir/ä?.wav")),
    judge(recognition("eins zwei drei", "drei", audio="sub dir/ä?.wav", mode=Mode.LANGUAGE, latency_ms=1120)),
    judge(recognition("a b", "", audio="bad.wav", locale="pl-PL", detected=None)),
]


class Reader(HTMLParser):
    """The recordings and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.players: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "audio":
            self.players.append(str(dict(attributes)["src"]))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_begins_with_the_worst_and_plays_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pages" / "worst.html"
    write_page(JUDGED, path)
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert [unquote(player) for player in reader.players] == ["../bad.wav", "../sub dir/ä?.wav", "../good.wav"]
    assert "?" not in reader.players[1]
    assert reader.text.count("errors in 3") == 3
    assert "taken for no language" in reader.text


def test_of_a_part_the_page_plays_no_more(tmp_path: Path) -> None:
    parts = [judge(recognition("eins", "zwei", audio=f"a#t.wav#t={begin}")) for begin in ("1.5,2.0", "3.0")]
    write_page(parts, tmp_path / "worst.html")
    page = (tmp_path / "worst.html").read_text(encoding="utf-8")
    assert all(f'a%23t.wav#t={begin}"' in page for begin in ("1.5,2.0", "3.0"))


def test_what_was_heard_is_text(tmp_path: Path) -> None:
    judged = judge(recognition("<script> eins", "eins <script>", audio='"><script>.wav'))
    write_page([judged], tmp_path / "worst.html")
    assert "<script" not in (tmp_path / "worst.html").read_text(encoding="utf-8")


def test_an_alignment_names_what_is_wrong() -> None:
    judged = judge(recognition("eins zwei drei vier", "null eins zwo drei"))
    assert columns(judged) == [
        ("extra", "", "null"),
        ("right", "eins", "eins"),
        ("wrong", "zwei", "zwo"),
        ("right", "drei", "drei"),
        ("missing", "vier", ""),
    ]


@pytest.mark.parametrize("suffix", ["png", "svg", "PDF"])
def test_a_plot_is_a_picture_of_the_kind_that_its_name_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"plot.{suffix}"
    check_name(path)
    save_plot(make_report("tiny", JUDGED), path)
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "PDF": b"%PDF"}
    assert path.read_bytes().startswith(begins[suffix])
    if suffix == "png":
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10


def test_a_plot_shows_curves_and_bars(tmp_path: Path) -> None:
    save_plot(make_report("tiny", JUDGED), tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    for label in ("latency, ms", "error rate at 1120 ms, %", "language given", "language found out", "de-DE"):
        assert f"<!-- {label} -->" in drawn


@pytest.mark.parametrize("name", ["plot", "plot.txt"])
def test_another_name_is_refused_before_anything_is_heard(name: str) -> None:
    with pytest.raises(OptionError, match=rf"{name} does not say .*\.png"):
        check_name(Path(name))
