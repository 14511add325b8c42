"""How events are shown as they come."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from nemotron_asr.events import Event, Final, Partial

FORMATS = ("text", "jsonl")

Show = Callable[[Event], None]


@contextmanager
def captions(form: str) -> Iterator[Show]:
    """What shows events: as JSON lines, as text that grows in place on a terminal, or as final lines on a pipe."""
    if form == "jsonl":
        yield _print_json
    elif sys.stdout.isatty():
        with _growing() as show:
            yield show
    else:
        yield _print_final


def _print_json(event: Event) -> None:
    click.echo(json.dumps(event.to_dict(), ensure_ascii=False))


def _print_final(event: Event) -> None:
    if isinstance(event, Final):
        click.echo(event.segment.text)


@contextmanager
def _growing() -> Iterator[Show]:
    console = Console(highlight=False)
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:

        def show(event: Event) -> None:
            if isinstance(event, Partial):
                live.update(Text(event.segment.text, style="dim"), refresh=True)
            elif isinstance(event, Final):
                live.update("", refresh=True)
                console.print(Text(event.segment.text), soft_wrap=True)

        yield show
