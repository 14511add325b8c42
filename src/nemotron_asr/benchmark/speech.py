"""What all benchmarks listen to: the bundled recordings."""

from importlib.resources import as_file, files

import numpy as np

from nemotron_asr.audio import Samples, load


def recordings() -> list[Samples]:
    """Each by itself: (samples,) at 16 kHz."""
    with as_file(files("nemotron_asr") / "samples") as folder:
        return [load(str(path)) for path in sorted(folder.glob("*.opus"))]


def speech() -> Samples:
    """One after the other."""
    return np.concatenate(recordings())
