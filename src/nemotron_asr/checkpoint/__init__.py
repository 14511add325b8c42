"""Models at rest: three readers and three writers around one `Checkpoint`.

checkpoint.py    what every reader returns and every writer takes
sources.py       from the name of a model to the model, and back to a file
native.py        our own layout; huggingface.py: that of transformers; nemo.py, nemo_config.py: `.nemo` files
adapter.py       LoRA adapters in peft's layout, merged when read
names.py         what the tensors are called in each layout
config_section.py  a foreign configuration, read strictly
files.py         files that nobody vouches for, read within limits; mapping.py: mapped into memory
int8.py          8-bit weights
skeleton.py      a model without memory; placement.py: weights put into it
"""

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
