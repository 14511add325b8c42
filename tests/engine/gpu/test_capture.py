"""A step can be captured: it asks the device for no value, and takes none from the host."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nemotron_asr.engine.gpu.graphs import recorder_for
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.engine.gpu.step import Shape
from tests.conftest import tiny_config
from tests.engine.gpu.test_runner import new_runner

QUESTIONS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "item", "equal"}
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


@pytest.mark.parametrize("changes", [{}, {"n_prompts": 0, "use_bias": True}, {"final_tokens": (3, 5)}], ids=str)
@pytest.mark.parametrize("chunk", [1, 14])
def test_a_step_may_be_captured(chunk: int, changes: dict[str, Any]) -> None:
    runner = new_runner(tiny_config(**changes))
    attempt(runner, runner.stepper.step, chunk)
    attempt(runner, runner.stepper.more, chunk)


def test_what_may_not_be_captured_is_found() -> None:
    runner = new_runner()
    for asking in (lambda x: bool(x.any()), lambda x: x[x > 0], lambda x: x.nonzero(), lambda _: torch.tensor([1])):
        with pytest.raises(AssertionError, match="within a step"), Captured():
            asking(torch.randn(3))
    assert runner


def test_a_graph_is_recorded_after_the_work_was_done_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a CUDA that only notes what it is asked for."""
    notes: list[str] = []

    @contextmanager
    def within(name: str) -> Iterator[None]:
        notes.append(f"<{name}>")
        yield
        notes.append(f"</{name}>")

    class Graph:
        def replay(self) -> None:
            notes.append("replay")

    cuda = {
        "graph_pool_handle": lambda: "memory", "Stream": MagicMock, "current_stream": MagicMock, "CUDAGraph": Graph,
        "stream": lambda _: within("aside"), "synchronize": lambda: notes.append("wait"), "empty_cache": lambda: None,
        "graph": lambda graph, pool, **_: within(f"graph in {pool}" if isinstance(graph, Graph) else "nothing"),
    }  # fmt: skip
    for name, fake in cuda.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    recorder = recorder_for(torch.device("cuda"))
    recording = recorder(lambda: notes.append("work"))
    recording.replay()
    course = "<aside> work work </aside> wait <graph in memory> work </graph in memory> replay"
    assert " ".join(notes) == course


def test_without_cuda_work_is_done_again() -> None:
    done: list[int] = []
    recording = recorder_for(torch.device("cpu"))(lambda: done.append(1))
    recording.replay()
    assert len(done) == 2
