"""Runs a property of `test_parsers.py` under atheris, whose inputs grow towards lines that were not reached yet.

    pip install atheris
    python -m tests.server.fuzz.coverage test_riva_messages -max_total_time=300

Without a name it lists them. Other arguments are libFuzzer's. What it finds belongs into an `@example` of the test.
"""

import inspect
import sys

import atheris


def main() -> None:
    """Reads the command line and searches until something is found or the time is up."""
    with atheris.instrument_imports(include=["nemotron_asr.server", "nemotron_asr.errors"]):
        from tests.server.fuzz import test_parsers
    properties = {name: test for name, test in vars(test_parsers).items() if hasattr(test, "hypothesis")}
    properties = {
        name: test for name, test in properties.items() if "tmp_path" not in inspect.signature(test).parameters
    }
    if len(sys.argv) < 2 or sys.argv[1] not in properties:
        sys.exit(f"which of {', '.join(properties)}?")
    searched = properties[sys.argv[1]].hypothesis.fuzz_one_input
    atheris.Setup([sys.argv[0], *sys.argv[2:]], searched)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
