"""The predictor's LSTM where it takes a step at a time."""

import torch
from torch import Tensor, nn


class CellLSTM(nn.Module):
    """The same LSTM with the same parameters, faster on a CPU.

    oneDNN's brings its weights into order anew at every call, which takes several times as long as one step.
    """

    def __init__(self, original: nn.LSTM) -> None:
        super().__init__()
        self._layers = [[f"{kind}_l{layer}" for kind in _KINDS] for layer in range(original.num_layers)]
        for name, parameter in original.named_parameters():
            self.register_parameter(name, parameter)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """Per layer the weights of input and hidden state and their biases, as in `nn.LSTM`."""
        return [[self.get_parameter(name) for name in names] for names in self._layers]

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, U, d) inputs after the memory (layers, B, d) of hidden and cell states; as `nn.LSTM`, batch first."""
        outputs, (h, c) = [], (list(memory[0]), list(memory[1]))
        layers = self.all_weights
        for step in x.unbind(1):
            below = step
            for i, weights in enumerate(layers):
                h[i], c[i] = torch.lstm_cell(below, (h[i], c[i]), *weights)
                below = h[i]
            outputs.append(below)
        return torch.stack(outputs, 1), (torch.stack(h), torch.stack(c))


_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
