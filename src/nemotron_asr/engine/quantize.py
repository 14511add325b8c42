"""Linears with 8-bit weights and 8-bit products.

A row of what comes in is quantised with a scale of its own, so that what a stream hears does not depend on the batch it
shares. The weights are a quarter of their size in float32, and the products run on the CPU's 8-bit instructions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint import release
from nemotron_asr.checkpoint.int8 import MATRICES, quantize_rows, quantize_weight, scale_of
from nemotron_asr.model import NemotronASR

ZERO_POINT = 128
"""oneDNN takes unsigned activations: this much is added to them, and taken away again from the products."""


KEPT = ("prompt.frame", "prompt.out", "transducer.pred")
"""Linears that stay in float32 at rest. What tells languages apart, the embedding between the prompt's, is not one."""


class Int8Linear(nn.Module):
    """A linear with int8 weights that quantises each row of its input by itself."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        """From int8 (out, in), float32 (out,) and float32 (out,) or nothing."""
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self._packed: Tensor | None = None

    def pack(self) -> None:
        """Bring the weights into the order in which the products read them; the original is dropped."""
        original = self.weight
        self._zero_points = torch.zeros_like(self.scale, dtype=torch.long)
        self._packed = torch.ops.onednn.qlinear_prepack(original, None)
        self.weight = original.new_empty(0)
        release(original)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), float32."""
        rows, scale = quantize_rows(x.float().flatten(0, -2))
        y = self._product(rows).mul_(scale)
        biased = y if self.bias is None else y.add_(self.bias)
        result: Tensor = biased.unflatten(0, x.shape[:-1])
        return result

    def _product(self, rows: Tensor) -> Tensor:
        """(M, in) whole numbers times the weights, as oneDNN computes it or, before `pack`, by its definition."""
        if self._packed is None:
            return nn.functional.linear(rows, self.weight.float()) * self.scale
        shifted = rows.add_(ZERO_POINT).to(torch.uint8)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            shifted, 1.0, ZERO_POINT, self._packed, self.scale, self._zero_points, None, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
        return product


class Int8LSTM(nn.Module):
    """An LSTM of single steps whose gates are int8 products; the state stays in float32.

    oneDNN's LSTM brings its weights into order anew at every call, which takes longer than the step.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_gates(lstm, layer) for layer in range(lstm.num_layers))

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, U, d) inputs after the memory (layers, B, d) of hidden and cell states; as `nn.LSTM`, batch first."""
        outputs, (h, c) = [], (list(memory[0]), list(memory[1]))
        for step in x.unbind(1):
            below = step
            for i, layer in enumerate(self.layers):
                into, forget, content, out = layer(torch.cat([below, h[i]], -1)).chunk(4, -1)
                c[i] = forget.sigmoid() * c[i] + into.sigmoid() * content.tanh()
                below = h[i] = out.sigmoid() * c[i].tanh()
            outputs.append(below)
        return torch.stack(outputs, 1), (torch.stack(h), torch.stack(c))


def _gates(lstm: nn.LSTM, layer: int) -> Int8Linear:
    """All gates of one layer as one linear over its input and its hidden state."""
    of_input, of_hidden, bias, bias_hidden = (parameter.data.float() for parameter in lstm.all_weights[layer])
    weight, scale = quantize_weight(torch.cat([of_input, of_hidden], 1))
    for parameter in lstm.all_weights[layer]:
        release(parameter.data)
    return Int8Linear(weight, scale, bias + bias_hidden)


def take_quantized(model: NemotronASR, weights: Mapping[str, Tensor]) -> None:
    """Prepare a skeleton for those weights that are stored in int8."""
    for name, tensor in weights.items():
        if tensor.dtype == torch.int8:
            stem = name.removesuffix(".weight")
            bias = model.get_parameter(f"{stem}.bias") if f"{stem}.bias" in weights else None
            scale = weights[scale_of(name)]
            model.set_submodule(stem, Int8Linear(tensor.to("meta"), scale.to("meta"), bias))


def quantize(model: NemotronASR) -> None:
    """Replace the float linears named by `MATRICES` and `KEPT`, one at a time, and the LSTM by quantised ones."""
    for stem, linear in list(model.named_modules()):
        if isinstance(linear, nn.Linear) and (stem in KEPT or MATRICES.fullmatch(f"{stem}.weight")):
            original = linear.weight.data
            weight, scale = quantize_weight(original)
            release(original)
            bias = None if linear.bias is None else linear.bias.data.float()
            model.set_submodule(stem, Int8Linear(weight, scale, bias))
    if isinstance(model.transducer.lstm, nn.LSTM):
        model.transducer.set_submodule("lstm", Int8LSTM(model.transducer.lstm))


def pack(model: nn.Module) -> None:
    """Pack the quantised linears of a module for oneDNN, where torch has it; not those whose weights were taken out."""
    if hasattr(torch.ops.onednn, "qlinear_pointwise") and torch.backends.mkldnn.is_available():
        for module in model.modules():
            if isinstance(module, Int8Linear) and len(module.weight):
                module.pack()
