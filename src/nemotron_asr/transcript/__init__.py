"""Tokens with times -> words -> segments and events; and the `Transcript` of which every format is a function.

builder.py      tokens and voice -> events, frame by frame
words.py        tokens -> words with times; segments.py: tokens -> segments
voice.py        what is known of the voice by a frame
transcript.py   what was said in one recording
"""

from nemotron_asr.transcript.builder import LONGEST_SEGMENT, PAUSE_FRAMES, TranscriptBuilder
from nemotron_asr.transcript.transcript import Transcript, collect, merge
from nemotron_asr.transcript.voice import Voice

__all__ = ["LONGEST_SEGMENT", "PAUSE_FRAMES", "Transcript", "TranscriptBuilder", "Voice", "collect", "merge"]
