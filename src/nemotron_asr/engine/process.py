"""Settings of a whole process whose business is live speech; the engine itself changes none that others share."""

import gc
import sys

SWITCH = 0.0005
"""Seconds for which a thread may keep the interpreter from another one that wants it."""


def settle_process() -> None:
    """Prepare a process for punctuality, once its models are loaded.

    Looking for garbage among the objects of a model takes a tenth of a second and more, in which no thread gets on:
    what lives now is not looked at again. And the computing thread, which needs the interpreter for a moment some
    hundred times a second, does not wait 5 ms for it each time.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
