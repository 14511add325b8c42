"""The server over the GPU's runner, with plain kernels on a CPU: a step is recorded by counting and replayed by doing.

What a GPU must do besides is to compute the same as the plain kernels, which tests/engine/gpu holds kernel by kernel.
"""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from nemotron_asr.recognizer import Recognizer, load
from nemotron_asr.server import models
from tests.server import test_native, test_openai_http, test_riva
from tests.server.conftest import Running, running

if find_spec("triton") is None:
    pytest.skip("there is no Triton for this platform, and no engine on a GPU either", allow_module_level=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    from nemotron_asr.engine.gpu import plain
    from nemotron_asr.engine.gpu.runner import GpuRunner
    from tests.engine.gpu.test_runner import Fake

    fake = Fake()

    def on_gpu(place: str, *_: str) -> Recognizer:
        recognizer = load(place, "cpu", "float32")
        eager = recognizer.runner
        recognizer.runner = GpuRunner(
            eager.model, eager.log_mel, plain, rows=16, most=4, chunks=(1, 2, 4, 7, 14), recorder=fake
        )
        return recognizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", on_gpu)
        with running(max_streams=64) as server:
            recorded, replayed = fake.recorded, fake.replayed
            yield server
            assert fake.replayed > replayed
            assert fake.recorded == recorded, "something was recorded while streams were served"


class TestNative(test_native.TestWebSocket):
    """Our own protocol."""


class TestRiva(test_riva.TestStreaming):
    """NVIDIA's client."""


class TestOpenAI(test_openai_http.TestTranscriptions):
    """OpenAI's client."""
