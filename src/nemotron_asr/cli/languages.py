"""`nemotron-asr languages`: what can be asked for with --language."""

import click

from nemotron_asr.cli.running import debug
from nemotron_asr.cli.table import print_table
from nemotron_asr.languages import LANGUAGES


@click.command()
@debug
def languages() -> None:
    """List the 40 locales, best first.

    A bare code such as de, and de_de or DE-DE, mean the same as de-DE. Of an adaptation-ready language the released
    model knows little before it is fine-tuned.
    """
    print_table(("locale", "language", "tier"), [(entry.locale, entry.name, entry.tier) for entry in LANGUAGES])
