"""Plugins of voice agents, and a gateway, are tested where they are installed; see agents.txt and gateway.txt."""

from importlib.util import find_spec

NEEDED = {
    "test_nvidia.py": ("pipecat", "livekit"),
    "test_livekit.py": ("livekit",),
    "test_pipecat.py": ("pipecat",),
    "test_litellm.py": ("litellm", "riva"),
}
"""Test files, and what they need."""

collect_ignore = [file for file, modules in NEEDED.items() if not all(map(find_spec, modules))]
