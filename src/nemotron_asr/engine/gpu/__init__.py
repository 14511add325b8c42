"""The engine on a GPU: state in place, kernels, graphs.

layout.py       how state lies; the arrays of a step
plain.py        what the kernels compute, in torch: their oracle
compiling.py    the typed door to Triton
attention.py    attention over the rings
"""
