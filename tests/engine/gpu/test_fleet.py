"""Streams in arrays say what streams in objects say."""

from copy import deepcopy

import numpy as np
import pytest

from nemotron_asr.benchmark.driver import tokens, whole
from nemotron_asr.engine.gpu import fused
from nemotron_asr.engine.gpu.fleet import Fleet
from nemotron_asr.engine.gpu.runner import GpuRunner, RingPool
from nemotron_asr.engine.gpu.step import Buffers, Shape
from nemotron_asr.errors import OptionError
from nemotron_asr.features import LogMel
from tests.conftest import Sample
from tests.engine.gpu.cases import DEVICE
from tests.engine.gpu.test_runner import CONFIG, Fake, eager, model, new_runner


@pytest.mark.parametrize("chunk", [1, 14])
def test_a_fleet_says_what_the_eager_runner_says(samples: list[Sample], chunk: int) -> None:
    """Streams begin at different times, end, and begin anew on the same rows."""
    fake = Fake()
    fleet = Fleet(new_runner(fake=fake), 3, chunk, [1, 2], prompt=5)
    recorded = fake.recorded
    comes_and_goes(fleet, samples, chunk)
    assert fake.recorded == recorded
    assert fake.replayed


@pytest.mark.skipif(DEVICE.type == "cpu", reason="records CUDA graphs")
@pytest.mark.parametrize("chunk", [1, 14])
def test_a_fleet_says_it_by_graphs_on_a_gpu(samples: list[Sample], chunk: int) -> None:
    on_device, front_end = deepcopy(model(CONFIG)).to(DEVICE), LogMel(CONFIG).to(DEVICE)
    runner = GpuRunner(on_device, front_end, fused, rows=1, most=1, chunks=())
    comes_and_goes(Fleet(runner, 3, chunk, [1, 2], prompt=5), samples, chunk)


def comes_and_goes(fleet: Fleet, samples: list[Sample], chunk: int) -> None:
    draw, speech = np.random.default_rng(chunk), np.concatenate([sample.audio for sample in samples])
    jobs = 5
    audios = [speech[start:][: int(draw.integers(8_000, 40_000))] for start in draw.integers(0, 400_000, jobs)]
    job_of, heard = dict[int, int](), [list[tuple[int, int]]() for _ in range(jobs)]
    coming = list(range(jobs))
    while job_of or coming:
        for stream in [stream for stream in range(3) if stream not in job_of and coming and draw.random() < 0.5]:
            if coming:
                job_of[stream] = coming.pop()
                fleet.begin(np.array([stream]))
        for stream, job in job_of.items():
            packet = audios[job][fleet.fed[stream] :][:320]
            if len(packet):
                fleet.feed(np.array([stream]), packet[None])
            else:
                fleet.close(np.array([stream]))
        while len(ready := fleet.ready()):
            said = fleet.step(ready[: fleet.most])
            for stream, token, frame in zip(said.stream.tolist(), said.token, said.frame, strict=True):
                heard[job_of[stream]].append((int(token), int(frame)))
            assert ((said.confidence >= 0) & (said.logprob <= 1e-6)).all()
        for stream in [stream for stream in job_of if fleet.done(np.array([stream]))[0]]:
            del job_of[stream]
    expected = [tokens(whole(eager(), audio, chunk, 5)) for audio in audios]
    assert heard == expected
    assert sum(map(len, heard)) > 10


def test_the_largest_step_is_recorded_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others find room in its memory; they are found by size."""
    recorded: list[int] = []
    record = GpuRunner.record

    def noted(runner: GpuRunner, pool: RingPool, shape: Shape) -> Buffers:
        recorded.append(shape.streams)
        return record(runner, pool, shape)

    monkeypatch.setattr(GpuRunner, "record", noted)
    fleet = Fleet(new_runner(), 3, 1, [1, 3, 2])
    assert recorded == [3, 2, 1]
    assert [buffers.shape.streams for buffers in fleet.buffers] == [1, 2, 3]
    assert fleet.most == 3


def test_audio_that_would_be_lost_is_refused() -> None:
    fleet = Fleet(new_runner(), 1, 1, [1])
    fleet.begin(np.array([0]))
    with pytest.raises(OptionError, match="ahead of its steps"):
        fleet.feed(np.array([0]), np.zeros((1, 20_000), np.float32))
