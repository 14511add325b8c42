"""The kernels are compiled for a real GPU, which the interpreter does not do."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_kernels_compile_for_hopper(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.gpu_kernels", "--chunks", "14", "--dtypes", "bfloat16"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    compiled = [line.split()[0] for line in run.stdout.splitlines()]
    assert set(compiled) >= {
        "_add_norm",
        "_attend",
        "_convolve",
        "_remember",
        "_share_of_vocabulary",
        "_merge",
        "_lstm",
        "_quantize_rows",
    }
    for name in ("_attend", "_convolve", "_remember"):
        assert compiled.count(name) == 1, "a step of another length is compiled anew"
    assert not re.search(r" \d{3,} stack", run.stdout), run.stdout  # spilled registers
