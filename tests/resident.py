"""What is in memory, which only Linux says."""

from pathlib import Path


def resident(kind: str) -> int:
    """Kilobytes of this process in memory, of a kind: `RssAnon`, `RssFile`, ..."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
