"""Writes what `nemotron-asr evaluate` found of `tiny` into the tables of the pages that say it.

    nemotron-asr evaluate $WORK/dev.jsonl --latency={80,160,320,560,1120} --format markdown > $WORK/dev.md
    nemotron-asr evaluate $DATA/speech/eval.jsonl --mode auto --latency={80,1120} --format markdown > $WORK/eval.md
    python -m recipes.tiny.figures dev=$WORK/dev.md eval=$WORK/eval.md

A page's table that has `<!-- figures of dev -->` above it keeps its rows and columns. Of each row those cells are
written anew whose column the report has, in the report's row for the same locale, language and latency.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs/evaluation.md", ROOT / "src/nemotron_asr/models/tiny/README.md")
KEYS = ("locale", "language", "latency", "confidence")  # columns that say of what a row is
MARKED = re.compile(r"(?<=<!-- figures of )(?P<source>\w+)(?P<mark> -->\n)(?P<table>(?:\|.*\n)+)")

Row = dict[str, str]


def cells(line: str) -> list[str]:
    """What stands between the bars of a line."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(table: str) -> list[Row]:
    """The rows of a table by its headings, whose ", %" is left out."""
    headings, _, *lines = table.splitlines()
    names = [name.removesuffix(", %") for name in cells(headings)]
    return [dict(zip(names, cells(line), strict=True)) for line in lines]


def reported(report: str) -> list[list[Row]]:
    """All tables of a report."""
    return [rows(table) for table in re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE)]


def refreshed(table: str, report: Sequence[Sequence[Row]]) -> str:
    """The same table with the report's figures.

    Raises:
        ValueError: no table of the report is about such rows.
    """
    lines, ours = table.splitlines()[:2], rows(table)
    keys = [key for key in KEYS if key in ours[0]]
    columns = set(ours[0])
    theirs = max(report, key=lambda other: len(columns & set(other[0])))
    found = {_place(row, keys): row for row in theirs}  # of several averages the last is of all
    for row in ours:
        place = _place(row, keys)
        if place not in found:
            raise ValueError(f"no row of the report is about {place}; there are {', '.join(found)}")
        new = {name: value if name in keys else found[place].get(name, value) for name, value in row.items()}
        lines.append(f"| {' | '.join(new.values())} |")
    return "".join(f"{line}\n" for line in lines)


def _place(row: Row, keys: Sequence[str]) -> str:
    """Of what a row is; "average, broad-coverage" of the average."""
    return " ".join(row.get(key, "").split(",")[0] for key in keys)


def rewrite(page: str, reports: Mapping[str, str]) -> str:
    """A page with the figures of those reports that are given."""

    def replace(match: re.Match[str]) -> str:
        source, mark, table = match["source"], match["mark"], match["table"]
        return source + mark + (refreshed(table, reported(reports[source])) if source in reports else table)

    return MARKED.sub(replace, page)


def main() -> None:
    """Reads the command line and writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="NAME=FILE", help="what `evaluate --format markdown` printed")
    named = dict(argument.split("=", 1) for argument in parser.parse_args().reports)
    reports = {name: Path(path).read_text(encoding="utf-8") for name, path in named.items()}
    for page in PAGES:
        page.write_text(rewrite(page.read_text(encoding="utf-8"), reports), encoding="utf-8")


if __name__ == "__main__":
    main()
