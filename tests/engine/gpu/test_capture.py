"""A step can be captured: it asks the device for no value, and takes none from the host."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.graphs import Again, recorder_for
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.engine.gpu.step import Shape
from nemotron_asr.features import LogMel
from tests.conftest import tiny_config
from tests.engine.gpu.test_runner import model, new_runner

QUESTIONS = {
    "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "_unique", "unique_dim",
    "unique_consecutive", "isin", "item", "equal",
}  # fmt: skip
ANSWERS = {"lift_fresh", "lift"}
"""A tensor from numbers of the host."""


class Captured(TorchDispatchMode):
    """Fails where the capture of a CUDA graph would."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        assert name.rstrip("0123456789_") not in QUESTIONS | ANSWERS, f"{name} within a step"
        if name in {"index", "index_put", "index_put_"}:
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "a mask within a step"
        return func(*args, **(kwargs or {}))


def attempt(runner: GpuRunner, work: Callable[[Any, Any], None], chunk: int) -> None:
    pool = runner.new_pool(4)
    buffers = runner.record(pool, Shape(3, chunk, chunk))
    with torch.inference_mode(), Captured():
        work(buffers, pool)


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_prompts": 0, "use_bias": True}, {"final_tokens": (3, 5)}, {"final_tokens": tuple(range(40))}],
    ids=str,
)
@pytest.mark.parametrize("chunk", [1, 14])
def test_a_step_may_be_captured(chunk: int, changes: dict[str, Any]) -> None:
    runner = new_runner(tiny_config(**changes))
    attempt(runner, runner.stepper.step, chunk)
    attempt(runner, runner.stepper.more, chunk)


def test_what_may_not_be_captured_is_found() -> None:
    runner = new_runner()
    asking: list[Callable[[torch.Tensor], object]] = [
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.isin(x, x),
        lambda x: x.unique(),
        lambda _: torch.tensor([1]),
    ]
    for ask in asking:
        with pytest.raises(AssertionError, match="within a step"), Captured():
            ask(torch.randn(3))
    assert runner


def test_a_graph_is_recorded_after_the_work_was_done_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a CUDA that only notes what it is asked for. Work and graph are on one stream, which has its workspaces."""
    notes: list[str] = []
    streams: list[object] = []

    @contextmanager
    def within(name: str) -> Iterator[None]:
        notes.append(f"<{name}>")
        yield
        notes.append(f"</{name}>")

    class Graph:
        def replay(self) -> None:
            notes.append("replay")

    def on(stream: object) -> AbstractContextManager[None]:
        streams.append(stream)
        return within("aside")

    def capture(graph: Graph, pool: str, stream: object = None, **_: object) -> AbstractContextManager[None]:
        streams.append(stream)
        return within(f"graph in {pool}" if isinstance(graph, Graph) else "nothing")

    cuda = {
        "graph_pool_handle": lambda: "memory", "Stream": MagicMock, "current_stream": MagicMock, "CUDAGraph": Graph,
        "stream": on, "synchronize": lambda: notes.append("wait"), "empty_cache": lambda: None, "graph": capture,
    }  # fmt: skip
    for name, fake in cuda.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    recorder = recorder_for(torch.device("cuda"))
    recording = recorder(lambda: notes.append("work"))
    recording.replay()
    course = "<aside> work work </aside> wait <graph in memory> work </graph in memory> replay"
    assert " ".join(notes) == course
    warmed_up, captured = streams
    assert warmed_up is captured


def test_every_pool_has_graphs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a pool that is no more must not share memory with new ones."""
    monkeypatch.setattr("nemotron_asr.engine.gpu.runner.recorder_for", lambda _: partial(Again))
    config = tiny_config(n_layers=1)
    runner = GpuRunner(model(config), LogMel(config), plain, rows=1, most=1, chunks=())
    assert runner.new_pool(1).recorder is not runner.new_pool(1).recorder


def test_without_cuda_work_is_done_again() -> None:
    done: list[int] = []
    recording = recorder_for(torch.device("cpu"))(lambda: done.append(1))
    recording.replay()
    assert len(done) == 2
