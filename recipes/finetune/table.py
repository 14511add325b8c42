"""Prints error rates before and after, side by side.

nemotron-asr evaluate dev.jsonl --model BASE --latency 80 --mode auto --format json > base.json
python -m recipes.finetune.table base.json full.json lora.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def rates(report: Path) -> dict[str, float]:
    """Errors in percent by locale, of a report with one latency and one mode."""
    return {score["locale"]: 100 * score["rate"] for score in json.loads(report.read_text(encoding="utf-8"))["locales"]}


def table(reports: Sequence[Path]) -> list[str]:
    """Lines of a Markdown table: a locale a row, the first report's rates, and those of others with the change."""
    names, columns = [report.stem for report in reports], [rates(report) for report in reports]
    lines = [f"| locale | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for locale, before in columns[0].items():
        others = (_cell(before, column.get(locale)) for column in columns[1:])
        lines.append(f"| {' | '.join([locale, f'{before:.1f}', *others])} |")
    return lines


def _cell(before: float, after: float | None) -> str:
    """A rate and its change; a dash where there is none."""
    if after is None:
        return "-"
    return f"{after:.1f} ({after / before - 1:+.0%})" if before else f"{after:.1f}"


def main() -> None:
    """Reads the command line and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="what `nemotron-asr evaluate --format json` printed")
    print("\n".join(table(parser.parse_args().reports)))


if __name__ == "__main__":
    main()
