"""Any container, codec or array -> mono float32 at 16 kHz: whole, block by block, or live packet by packet.

Decoding and resampling are FFmpeg's (libavformat, libavcodec, libswresample), which PyAV ships in its wheel. One
resampler serves files and live streams, so that both hear the same samples.

    source.py       recordings: path, bytes, file object or array -> blocks
    container.py    files -> frames, stepping over damage, opening nothing else
    resampler.py    live: packets at any rate -> 16 kHz
    pcm.py          bytes of plain samples -> arrays
    samples.py      arrays of any type -> mono float32
    activity.py     where somebody speaks
    suffixes.py     how the names of recordings end
"""

from nemotron_asr.audio.pcm import PcmReader
from nemotron_asr.audio.resampler import Resampler
from nemotron_asr.audio.samples import Samples, as_float32
from nemotron_asr.audio.source import AudioSource, load, probe_duration, read_blocks, read_channels, read_file

__all__ = [
    "AudioSource",
    "PcmReader",
    "Resampler",
    "Samples",
    "as_float32",
    "load",
    "probe_duration",
    "read_blocks",
    "read_channels",
    "read_file",
]
