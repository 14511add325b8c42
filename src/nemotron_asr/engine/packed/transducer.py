"""The predictor and the joint in the kernels' layout."""

from collections.abc import Sequence
from threading import local
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint import release
from nemotron_asr.decoding.bias import Arcs, Bias
from nemotron_asr.decoding.greedy import DecoderState, Emission, initial_state
from nemotron_asr.engine.packed.layout import BLOCK, TILE_COLUMNS, Longs, Predictor, Preference, Said, Search
from nemotron_asr.engine.packed.layout import Transducer as Layout
from nemotron_asr.engine.packed.linear import PackedLinears, member, product_scratch
from nemotron_asr.engine.packed.search import DONE, assist, search
from nemotron_asr.engine.packed.team import SOLO, Team, counter
from nemotron_asr.engine.quantize import Int8Linear, Int8LSTM
from nemotron_asr.model import Transducer


class PackedTransducer:
    """Greedy search in compiled code over a transducer whose linears are taken out of it and packed.

    Args:
        transducer: its gates, its projection and its head are quantised; they are replaced by the packed ones.
    """

    def __init__(self, transducer: Transducer) -> None:
        self.blank, self.width = transducer.config.blank, transducer.config.d_joint
        self._own = local()
        linears = [*cast("Int8LSTM", transducer.lstm).layers, transducer.pred, transducer.head]
        packed = PackedLinears(cast("Sequence[Int8Linear]", linears))
        self._weights, (*gates, pred, head) = packed.weights, packed.modules
        transducer.lstm.layers = nn.ModuleList(gates)
        transducer.set_submodule("pred", pred)
        transducer.set_submodule("head", head)
        final = np.zeros(self.blank + 1, np.bool_)
        final[list(transducer.config.final_tokens)] = True
        self._embed = transducer.embed.weight.detach().float()
        with torch.inference_mode():
            fresh = _arrays(initial_state(transducer, 1))
        self._layout = Layout(self._weights, self._embed.numpy(), fresh, final, transducer.config.max_symbols)

    @staticmethod
    def takes(transducer: Transducer) -> bool:
        """Whether the kernels take the sizes of a transducer, and its linears are quantised."""
        config = transducer.config
        sizes = config.d_pred % 16 == 0 and config.d_joint % 16 == 0
        return sizes and isinstance(transducer.lstm, Int8LSTM) and isinstance(transducer.pred, Int8Linear)

    def search(
        self,
        enc: Tensor,
        first: Tensor,
        valid: Tensor,
        state: DecoderState,
        bias: Bias | None = None,
        team: Team = SOLO,
    ) -> tuple[list[list[Emission]], DecoderState]:
        """As `decoding.greedy.greedy`, from projected frames (B, T, d_joint) on; a team shares the products."""
        batch, most = len(enc), enc.shape[1] * self._layout.limit
        said = Said(
            np.zeros(batch, np.int64), np.empty((batch, most, 2), np.int64), np.empty((batch, most, 2), np.float32)
        )
        memory = self._memory()._replace(time=first.numpy().copy(), symbols=np.zeros(batch, np.int64))
        state = DecoderState(*(part.contiguous().clone() for part in state.tensors()))
        inputs = enc.contiguous().numpy(), valid.numpy(), _arrays(state)

        memory.order[0] = DONE  # else who assists a search that fails would take up the last one's order
        work, wish = product_scratch(memory.x.shape[1], team.threads), _preference(bias, batch)

        def run(number: int, arrivals: Longs, awaited: Longs) -> None:
            thread = member(number, team.threads, arrivals, awaited, work)
            if number == 0:
                search(*inputs, self._layout, wish, memory, said, thread)
            else:
                assist(self._layout, memory, thread)

        team.run(run)
        if said.counts.any():
            release(self._embed)  # with each row that is read, the system brings dozens beside it
        return [_emissions(said, row) for row in range(batch)], state

    def _memory(self) -> Search:
        """What a search in this thread works with."""
        if not hasattr(self._own, "memory"):
            self._own.memory = self._new_memory()
        memory: Search = self._own.memory
        return memory

    def _new_memory(self) -> Search:
        places = self._weights.places
        deepest, widest = int(places[:, 3].max()), int(places[:-1, 2].max()) * TILE_COLUMNS
        logits = int(places[-1, 2]) * TILE_COLUMNS
        x, y, last = (np.empty((BLOCK, width), np.float32) for width in (deepest, widest, logits))
        none, cells = np.zeros(0, np.int64), np.zeros((2, BLOCK, 2), np.int64)
        return Search(none, none, cells[0], cells[1], x, y, last, np.zeros(logits, np.float32), counter())


def _arrays(state: DecoderState) -> Predictor:
    return Predictor(*(part.numpy() for part in state.tensors()))


def _preference(bias: Bias | None, batch: int) -> Preference:
    """The arrays of a bias, whose places the search moves on; or those of no phrases."""
    if bias is None:
        none = torch.zeros(batch, 2, dtype=torch.long)
        bias = Bias(Arcs.none(torch.device("cpu")), none[:, 0], none, none[:, :0], none[:, :0].float(), 0)
    bias.place = bias.place.contiguous().clone()
    arcs = bias.arcs
    parts = (arcs.first, arcs.token, arcs.target, arcs.gain, arcs.gaining, bias.root, bias.place, bias.banned)
    return Preference(*(part.contiguous().numpy() for part in parts))


def _emissions(said: Said, row: int) -> list[Emission]:
    count = int(said.counts[row])
    tokens, sure = said.tokens[row, :count].tolist(), said.sure[row, :count].tolist()
    return [Emission(*token, *how) for token, how in zip(tokens, sure, strict=True)]
