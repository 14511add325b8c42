"""Workers of a Ray cluster on this machine: what they say is what a recognizer says."""

import os
import signal
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest

import nemotron_asr
from nemotron_asr import cluster as module
from nemotron_asr.audio import AudioSource
from nemotron_asr.cluster import Cluster, _Sent
from nemotron_asr.errors import (
    AudioError,
    CheckpointError,
    EngineClosedError,
    LanguageError,
    MissingExtraError,
    NemotronError,
    OptionError,
    StreamFailedError,
)
from nemotron_asr.transcript import Transcript
from tests.conftest import Sample

ray: Any = import_module("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A worker in a cluster of two cores, whichever this machine has, without a page of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with Cluster(workers=1, batch=3) as cluster:
        yield cluster
    ray.shutdown()


def said(result: Transcript | NemotronError) -> list[tuple[str, float, float]]:
    """Words and times; confidences differ in the last digit among neighbours."""
    assert isinstance(result, Transcript)
    assert result.words
    return [(word.word, word.start, word.end) for word in result.words]


def process(cluster: Cluster) -> int:
    """Of the worker."""
    pid: int = ray.get(cluster._workers[0].__ray_call__.remote(lambda _: os.getpid()))
    return pid


def test_it_transcribes_as_a_recognizer_does(cluster: Cluster, samples: list[Sample], tmp_path: Path) -> None:
    alone = nemotron_asr.load()
    silent = tmp_path / "notes.txt"
    silent.write_text("not a recording")
    first, second = samples[0].path, Path(samples[1].path)
    sources: list[AudioSource] = [first, silent, second, second.read_bytes(), BytesIO(second.read_bytes())]
    sources.append((samples[2].audio, 16_000))
    results = list(cluster.transcribe_many(sources, latency_ms=320))
    assert isinstance(results.pop(1), AudioError)
    heard: list[AudioSource] = [first, second, second, second, sources[-1]]
    expected = [alone.transcribe(source, latency_ms=320) for source in heard]
    assert [said(result) for result in results] == [said(transcript) for transcript in expected]
    assert [result.file for result in results if isinstance(result, Transcript)] == [
        first,
        str(second),
        None,
        None,
        None,
    ]


def test_options_reach_the_workers_and_wrong_ones_are_said_at_once(cluster: Cluster, samples: list[Sample]) -> None:
    [german] = cluster.transcribe_many([samples[1].path], language="de", endpointing_ms=None)
    assert isinstance(german, Transcript)
    assert german.language == "de-DE"
    with pytest.raises(LanguageError, match="xx"):
        cluster.transcribe_many([samples[0].path], language="xx")
    with pytest.raises(OptionError, match="beam 99"):
        cluster.transcribe_many([samples[0].path], beam=99)
    with pytest.raises(OptionError, match="channels 'left'"):
        cluster.transcribe_many([samples[0].path], channels="left")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="give a list"):
        cluster.transcribe_many(samples[0].path)


def test_a_dead_worker_is_replaced(cluster: Cluster, samples: list[Sample]) -> None:
    [before] = cluster.transcribe_many([samples[0].path])
    pid = process(cluster)
    os.kill(pid, signal.SIGKILL)
    [after] = cluster.transcribe_many([samples[0].path])
    assert after == before
    assert process(cluster) != pid


def test_open_files_are_read_from_their_start_and_what_cannot_be_read_is_said(
    cluster: Cluster, samples: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(samples[0].path)
    closed, half = BytesIO(b"1"), BytesIO()
    closed.close()
    half.write(Path(samples[0].path).read_bytes())
    with (tmp_path / "a.txt").open(encoding="utf-8") as text:
        wrong: list[Any] = [closed, text, BytesIO()]
        *errors, right = cluster.transcribe_many([*wrong, half])
    for error, message in zip(errors, ("closed file", "a.txt: this file is open as text", "is empty"), strict=True):
        assert isinstance(error, AudioError)
        assert message in str(error)
    assert isinstance(right, Transcript)


def test_a_worker_without_memory_fails_one_recording() -> None:
    class Full:
        """What Ray raises of its own, in place of a worker."""

        def __getattr__(self, _: str) -> Any:
            raise ray.exceptions.OutOfMemoryError("no memory\nleft")

    free: SimpleQueue[Any] = SimpleQueue()
    free.put(Full())
    result = _Sent(ray, free, Event(), "a.wav", "mix", {}).run()
    assert isinstance(result, StreamFailedError)
    assert str(result) == "a.wav: no memory left"
    assert free.qsize() == 1


def test_a_worker_without_memory_is_one_line(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: list[Any]) -> None:
        raise ray.exceptions.OutOfMemoryError("no memory\nleft")

    monkeypatch.setattr(ray, "get", full)
    with pytest.raises(StreamFailedError, match=r"^a worker of the cluster failed: no memory left$"):
        cluster.transcribe_many(["a.wav"])


def test_whoever_stops_reading_waits_for_nobody(cluster: Cluster, samples: list[Sample]) -> None:
    results = cluster.transcribe_as_finished([sample.path for sample in samples])
    number, first = next(results)
    results.close()  # type: ignore[attr-defined]
    assert isinstance(first, Transcript)
    assert first.file == samples[number].path
    assert all(isinstance(result, Transcript) for result in cluster.transcribe_many([samples[0].path]))


@pytest.mark.usefixtures("cluster")
def test_a_closed_cluster_is_not_opened_again(samples: list[Sample]) -> None:
    with Cluster(workers=1) as other:
        results = other.transcribe_many([sample.path for sample in samples])
        next(results)
    assert all(isinstance(result, StreamFailedError | Transcript) for result in results)
    with pytest.raises(EngineClosedError, match="the cluster is closed"):
        other.transcribe_many([samples[0].path])


@pytest.mark.usefixtures("cluster")
def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"workers is 9: the cluster has room for 2 of 1 CPU each"):
        Cluster(workers=9)
    with pytest.raises(OptionError, match=r"room for 0 of 1 CPU and 1 GPU each"):
        Cluster(gpus=1)
    with pytest.raises(OptionError, match="batch 0 is too small"):
        Cluster(batch=0)
    with pytest.raises(OptionError, match="workers 0 is too small"):
        Cluster(workers=0)
    with pytest.raises(CheckpointError, match="empty"):
        Cluster(tmp_path / "empty", workers=1)
    monkeypatch.setattr(module, "import_module", _nothing)
    with pytest.raises(MissingExtraError, match=r"nemotron-asr\[ray\]"):
        Cluster()


def _nothing(name: str) -> None:
    raise ImportError(name)
