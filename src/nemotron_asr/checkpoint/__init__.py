"""Models at rest: three readers and three writers around one `Checkpoint`."""

from nemotron_asr.checkpoint.checkpoint import Checkpoint, describe
from nemotron_asr.checkpoint.int8 import to_float, to_int8
from nemotron_asr.checkpoint.mapping import release, release_file
from nemotron_asr.checkpoint.placement import place_weights
from nemotron_asr.checkpoint.skeleton import skeleton
from nemotron_asr.checkpoint.sources import load_checkpoint, save_checkpoint

__all__ = [
    "Checkpoint",
    "describe",
    "load_checkpoint",
    "place_weights",
    "release",
    "release_file",
    "save_checkpoint",
    "skeleton",
    "to_float",
    "to_int8",
]
