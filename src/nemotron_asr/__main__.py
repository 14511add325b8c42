"""`python -m nemotron_asr` is the command `nemotron-asr`."""

from nemotron_asr.cli import main

if __name__ == "__main__":
    main()
