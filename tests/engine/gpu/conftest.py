"""Triton's interpreter, unless there is a GPU: it must be chosen before a kernel is defined."""

import importlib.util
import os

import torch

if torch.cuda.is_available():
    torch.backends.cudnn.allow_tf32 = False  # results are compared
else:
    os.environ["TRITON_INTERPRET"] = "1"

if importlib.util.find_spec("triton") is None:  # there is none for this platform, and no engine on a GPU either
    collect_ignore_glob = ["test_*"]
