"""Models at rest: three readers and three writers around one `Checkpoint`."""

from nemotron_asr.checkpoint.checkpoint import Checkpoint, describe
from nemotron_asr.checkpoint.skeleton import skeleton
from nemotron_asr.checkpoint.sources import load_checkpoint, save_checkpoint

__all__ = ["Checkpoint", "describe", "load_checkpoint", "save_checkpoint", "skeleton"]
