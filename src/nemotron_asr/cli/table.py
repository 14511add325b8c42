"""Columns: aligned on a terminal, separated by tabs on a pipe."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nemotron_asr.cli.running import check_output


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, slow: bool = False) -> None:
    """Print rows; headings, if there are any, are for people only, as are rows that are seen as they come.

    Args:
        headings: one for each column, or none.
        rows: cells.
        slow: rows take seconds to come: on a terminal each is shown at once.

    Raises:
        OSError: standard output is closed.
    """
    check_output()
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(*headings, box=None, pad_edge=False, show_header=any(headings), header_style="bold")
    console = Console(highlight=False)
    with Live(table, console=console, auto_refresh=False) if slow else nullcontext() as live:
        for row in rows:
            table.add_row(*map(Text, row))
            if live:
                live.refresh()
    if not live:
        console.print(table)
