"""Plugins of voice agents are tested where they are installed; see requirements.txt."""

from importlib.util import find_spec

NEEDED = {"test_nvidia.py": ("pipecat", "livekit"), "test_livekit.py": ("livekit",), "test_pipecat.py": ("pipecat",)}
"""Test files, and what they need."""

collect_ignore = [file for file, modules in NEEDED.items() if not all(map(find_spec, modules))]
