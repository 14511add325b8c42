"""Matrix registers against vectors: the same int8 products to the last bit, in processes with and without them."""

import os
import subprocess
import sys

import pytest

from nemotron_asr.engine.packed import machine

PRODUCTS = """
from hashlib import sha256
import torch
from nemotron_asr.engine.packed.layout import MATRICES
from nemotron_asr.engine.packed.linear import PackedLinears
from nemotron_asr.engine.quantize import Int8Linear

torch.manual_seed(0)
print(MATRICES)
for inputs, outputs in ((16, 1), (80, 40), (256, 96), (1024, 64)):
    weight = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
    linears = PackedLinears([Int8Linear(weight, torch.rand(outputs), torch.randn(outputs))])
    for rows in (1, 2, 15, 16, 17, 31, 32, 33, 50, 128, 200):
        y = linears.modules[0](torch.randn(rows, inputs))
        print(inputs, outputs, rows, sha256(y.numpy().tobytes()).hexdigest())
"""


def products(switch: str) -> list[str]:
    """Whether matrix registers were used, and what came of many products."""
    command = [sys.executable, "-c", PRODUCTS]
    environment = {**os.environ, machine.SWITCH: switch}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.skipif(not machine.has_matrices(), reason="needs AMX")
def test_matrix_registers_give_the_same_products_as_vectors() -> None:
    with_them, without = products("1"), products("0")
    assert with_them[0] == "True"
    assert without[0] == "False"
    assert with_them[1:] == without[1:]
    assert len(set(with_them)) == len(with_them)


@pytest.mark.skipif(not machine.has_vectors(), reason="needs AVX-512 VNNI and numba")
def test_matrix_registers_can_be_switched_off() -> None:
    assert products("0")[0] == "False"
