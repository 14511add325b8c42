"""The engine on a GPU: state in place, kernels, graphs.

runner.py       the steps of `Runner` over state in place; graphs.py: recorded once and replayed
step.py         one step: samples in, tokens out
encoder.py      its encoder; search.py: its greedy search
layout.py       how state lies; the arrays of a step; weights.py: weights as the kernels want them
plain.py        what the kernels compute, in torch: their oracle
fused.py        the kernels: attention.py, convolution.py, norms.py, joint.py
float8.py       linears in 8-bit floats
compiling.py    the typed door to Triton
fleet.py        thousands of streams without an object for each, for benchmarks
"""
