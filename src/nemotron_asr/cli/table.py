"""Columns: aligned on a terminal, separated by tabs on a pipe."""

import sys
from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_asr.cli.running import check_output


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows; headings, if there are any, are for people only.

    Raises:
        OSError: standard output is closed.
    """
    check_output()
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(*headings, box=None, pad_edge=False, show_header=any(headings), header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
