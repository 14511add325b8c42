"""What the pages promise: their Python runs, and their links lead somewhere.

Every block that opens with ```python runs, page by page and in order, in a folder with `talk.opus` and `calls/`. A
block that cannot, because it needs what is not here, has `<!-- not run: why -->` on the line before.
"""

import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Sample

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = "```"


def split(page: Path) -> Iterator[tuple[str, bool, bool]]:
    """Every line of a page: its text, whether it is inside a block, and whether it is Python to be run."""
    inside = python = False
    before = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith(FENCE):
            python = not inside and line == f"{FENCE}python" and not before.startswith("<!-- not run: ")
            inside = not inside
            yield line, True, False
        else:
            yield line, inside, inside and python
        before = line


def code(page: Path) -> str:
    """The Python of a page, its lines where they are in the page."""
    return "\n".join(line if runs else "" for line, _, runs in split(page))


def prose(page: Path) -> str:
    """The rest."""
    return "\n".join(line for line, inside, _ in split(page) if not inside and not line.startswith("    "))


def links(page: Path) -> list[str]:
    """Targets inside the repository."""
    found = LINK.findall(re.sub(r"`[^`]*`", "", prose(page)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def workplace(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, as the pages have it."""
    shutil.copy(samples[0].path, tmp_path / "talk.opus")
    (tmp_path / "calls").mkdir()
    for sample in samples[1:]:
        shutil.copy(sample.path, tmp_path / "calls")
    (tmp_path / "calls" / "notes.txt").write_text("not a recording")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if code(page).strip()], ids=lambda page: page.name)
def test_python_runs(page: Path, workplace: Path) -> None:
    script = workplace / f"{page.name}.py"
    script.write_text(code(page), encoding="utf-8")
    runpy.run_path(str(script))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        assert target.is_relative_to(ROOT), f"{page.name} links to {link}, outside the repository"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}: there is no such heading"


def test_there_is_something_to_check() -> None:
    assert "nemotron_asr.load()" in code(ROOT / "docs" / "python.md")
    assert "docs/architecture.md" in links(ROOT / "README.md")
    assert "live-streams" in anchors(ROOT / "docs" / "python.md")
