"""Recordings with their texts, to learn from or to measure with.

sources.py     where they come from: a manifest, a folder, a Hugging Face dataset
manifest.py    a clip a line
parts.py       a part of a recording
"""
