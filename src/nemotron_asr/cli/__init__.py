"""The command `nemotron-asr`. Nothing here imports torch before a command needs it.

transcribe.py    inputs.py: files and folders -> recordings; progress.py: the bar
                 results.py: where transcripts go; provenance.py: of which recording each is
stream.py        live.py, microphone.py: where live samples come from; captions.py: how events are shown
serve.py, finetune.py, evaluate.py, bench.py, models.py, languages.py: the other commands
options.py       what `transcribe` and `stream` share
running.py       how every command ends; several.py: options with several values; table.py: columns
"""

import sys
from typing import NoReturn

import click

from nemotron_asr import __version__
from nemotron_asr.cli.bench import bench
from nemotron_asr.cli.evaluate import evaluate
from nemotron_asr.cli.finetune import finetune
from nemotron_asr.cli.languages import languages
from nemotron_asr.cli.models import convert, info
from nemotron_asr.cli.running import run
from nemotron_asr.cli.serve import serve
from nemotron_asr.cli.stream import stream
from nemotron_asr.cli.transcribe import transcribe

__all__ = ["commands", "main"]


@click.group(
    invoke_without_command=True,
    commands=[transcribe, stream, serve, finetune, evaluate, bench, convert, info, languages],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="nemotron-asr")
@click.pass_context
def commands(context: click.Context) -> None:
    """Speech to text with NVIDIA's Nemotron 3.5 ASR: files, folders and live streams in 40 locales.

    Results go to standard output, everything else to standard error. Exit status: 0 all done, 1 some inputs failed,
    2 wrong usage, 130 interrupted by Ctrl-C.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(run(commands))
