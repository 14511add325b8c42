"""`python -m nemotron_asr` is the command `nemotron-asr`."""

import sys
from typing import NoReturn

INTERRUPTED = 130
"""As in `cli.running`, which cannot be asked before it is imported."""


def main() -> NoReturn:
    """Run the command line of this process and exit; Ctrl-C ends it quietly from the first import on."""
    try:
        from nemotron_asr.cli import main as run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("\ninterrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
