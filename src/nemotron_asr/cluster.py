"""Recordings on many machines: workers of a Ray cluster (Moritz et al. 2018), each with a model of its own.

A worker is an actor with a thread for each recording that it transcribes at once; its engine steps them together, as
that of a `Recognizer` does.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from types import TracebackType
from typing import Any, Self, Unpack

from nemotron_asr.audio import AudioSource, read_file
from nemotron_asr.checkpoint.sources import place
from nemotron_asr.engine.settings import check_options
from nemotron_asr.errors import (
    AudioError,
    EngineClosedError,
    NemotronError,
    OptionError,
    StreamFailedError,
    needs_extra,
    one_line,
)
from nemotron_asr.options import Options, check_count
from nemotron_asr.recognizer import Recognizer, load
from nemotron_asr.recordings import Channels, Result, as_finished, check_channels, check_sources, in_order

RETRIES = 2
"""How often a recording is begun anew because its worker died."""

POLL_SECONDS = 0.5
"""After so long whoever waits for a worker looks whether anybody still wants the result."""


class Cluster:
    """Workers that transcribe recordings as one `Recognizer` would; a context manager, which ends them.

    Sources are read where they are transcribed, so that a path has to lead to the recording on every machine; bytes,
    arrays and files that are open are sent there. Every machine needs this package.

    Args:
        model: see `load`; each worker loads it.
        device: see `load`.
        dtype: see `load`.
        address: of a running cluster, "auto" for that of this machine, or "local" for one of this machine's cores that
            ends with the program; None is what the variable RAY_ADDRESS says, else "local". A cluster that the program
            is connected to already is taken, whatever is asked for.
        workers: as many as there is room for, unless given.
        cpus: cores of a worker.
        gpus: a worker's share of a GPU or number of them; 1 if there are any and the device may be one, else 0.
        batch: recordings that a worker transcribes at once.

    Raises:
        CheckpointError: a worker finds no such model.
        MissingExtraError: Ray is not installed.
        OptionError: no such cluster, or no room for so many workers in it; a device or dtype that is not offered.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "tiny",
        device: str = "auto",
        dtype: str = "auto",
        *,
        address: str | None = None,
        workers: int | None = None,
        cpus: int = 1,
        gpus: float | None = None,
        batch: int = 8,
    ) -> None:
        for name, count in {"workers": 1 if workers is None else workers, "cpus": cpus, "batch": batch}.items():
            check_count(name, count)
        self._closed = Event()
        self._ray = _import_ray()
        self._connected_here = _connect(self._ray, address)
        try:
            resources = self._ray.cluster_resources()
            share = {"CPU": cpus, "GPU": _gpus(resources, device) if gpus is None else gpus}
            actor = self._ray.remote(Worker).options(
                num_cpus=cpus, num_gpus=share["GPU"], max_concurrency=batch, max_restarts=-1, max_task_retries=RETRIES
            )
            base = str(path.absolute()) if (path := place(model)) else model
            count = _room(resources, share, workers)
            self._workers = [actor.remote(base, device, dtype, cpus) for _ in range(count)]
            self._ask([worker.check.remote({}) for worker in self._workers])
        except BaseException:
            self.close()
            raise
        self._at_once = len(self._workers) * batch
        self._free: SimpleQueue[Any] = SimpleQueue()
        for worker in self._workers * batch:
            self._free.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing, and leave the cluster if this entered it."""
        self._closed.set()
        for worker in self.__dict__.pop("_workers", ()):
            self._ray.kill(worker)
        if self._connected_here:
            self._connected_here = False
            self._ray.shutdown()

    def transcribe_many(
        self, sources: Iterable[AudioSource], *, channels: Channels = "mix", **options: Unpack[Options]
    ) -> Iterator[Result]:
        """Transcribe recordings on all workers, yield in order; one that fails yields its error and the rest go on.

        Raises:
            EngineClosedError: the cluster was closed.
            LanguageError: a language is unknown.
            OptionError: an option is not offered.
        """
        return in_order(self.transcribe_as_finished(sources, channels=channels, **options))

    def transcribe_as_finished(
        self, sources: Iterable[AudioSource], *, channels: Channels = "mix", **options: Unpack[Options]
    ) -> Iterator[tuple[int, Result]]:
        """Like `transcribe_many`, but every result comes as soon as it is there, with the number of its source."""
        check_sources(sources)
        check_channels(channels)
        if self._closed.is_set():
            raise EngineClosedError("the cluster is closed")
        if isinstance(file := options.get("lm"), (str, PathLike)):
            options["lm"] = Path(file).absolute()  # workers stand in other folders
        self._ask([self._workers[0].check.remote(options)])
        send = partial(_Sent, self._ray, self._free, self._closed, channels=channels, options=options)
        return as_finished(send, sources, self._at_once)

    def _ask(self, questions: list[Any]) -> None:
        """Wait until workers have answered.

        Raises:
            NemotronError: what one of them found wrong; a `StreamFailedError` where one died.
        """
        try:
            answers = self._ray.get(questions)
        except self._ray.exceptions.RayError as error:  # no memory, another version of Python or of this package
            raise StreamFailedError(f"a worker of the cluster failed: {one_line(error)}") from error
        for wrong in answers:
            if wrong is not None:
                raise wrong


class Worker:
    """Transcribes on one machine. The model is loaded when it is first asked for, also after the process died."""

    def __init__(self, model: str, device: str, dtype: str, threads: int) -> None:
        self._load = partial(load, model, device, dtype)
        self._threads = threads
        self._recognizer: Recognizer | None = None
        self._lock = Lock()

    def check(self, options: Options) -> NemotronError | None:
        """What is wrong with the model or the options of recordings."""
        try:
            check_options(self._loaded(), **options)
        except NemotronError as error:
            return error
        return None

    def transcribe(self, source: AudioSource, channels: Channels, options: Options) -> Result:
        """The transcript of a recording, or why there is none."""
        try:
            return self._loaded().transcribe(source, channels=channels, **options)
        except NemotronError as error:
            return error

    def _loaded(self) -> Recognizer:
        with self._lock:
            if self._recognizer is None:
                import_module("torch").set_num_threads(self._threads)
                self._recognizer = self._load()
            return self._recognizer


@dataclass
class _Sent:
    """A recording that a worker transcribes, and a thread here that waits for it."""

    ray: Any
    free: "SimpleQueue[Any]"  # workers, each as often as it has threads to spare
    closed: Event  # of the cluster
    source: AudioSource
    channels: Channels
    options: Options
    unwanted: Event = field(default_factory=Event)

    def run(self) -> Result:
        """The transcript, or why there is none."""
        worker = self.free.get()
        try:
            return self._transcript(worker)
        except AudioError as error:
            return error
        except self.ray.exceptions.RayActorError:
            return StreamFailedError(f"{self.source!s:.150}: the process that transcribed it died, {RETRIES + 1} times")
        except self.ray.exceptions.RayError as error:  # no memory, no room on a disk, no machine
            return StreamFailedError(f"{self.source!s:.150}: {one_line(error)}")
        finally:
            self.free.put(worker)

    def cancel(self) -> None:
        """Drop it; its worker goes on to the end."""
        self.unwanted.set()

    def _transcript(self, worker: Any) -> Result:
        reply = None
        while not self.unwanted.is_set() and not self.closed.is_set():  # or Ray would begin a cluster to wait in
            reply = reply or worker.transcribe.remote(_portable(self.source), self.channels, self.options)
            if self.ray.wait([reply], timeout=POLL_SECONDS)[0]:
                return self._named(self.ray.get(reply))
        return StreamFailedError("nobody waits for this recording any more")

    def _named(self, result: Result) -> Result:
        """A transcript with the name that was given here."""
        if isinstance(result, NemotronError):
            return result
        return replace(result, file=fspath(self.source) if isinstance(self.source, (str, PathLike)) else None)


def _portable(source: Any) -> Any:
    """A source as another process can have it: paths from the root on, open files read.

    Raises:
        AudioError: the file cannot be read.
    """
    if isinstance(source, (str, PathLike)):
        return str(Path(source).absolute())
    return read_file(source) if hasattr(source, "read") else source


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        return import_module("ray")
    except ImportError:
        raise needs_extra("a cluster", "ray") from None


def _connect(ray: Any, address: str | None) -> bool:
    """Enter a cluster unless this process is in one; whether it did. What workers print stays with them."""
    if ray.is_initialized():
        return False
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        choices = "choose auto, local or an address"
        raise OptionError(f"address {address!r} is no Ray cluster's: {one_line(error)}; {choices}") from None
    return True


def _gpus(resources: dict[str, float], device: str) -> int:
    """GPUs of a worker where nobody said how many."""
    return int(device != "cpu" and resources.get("GPU", 0) >= 1)


def _room(resources: dict[str, float], share: dict[str, float], wanted: int | None) -> int:
    """How many workers there will be.

    Raises:
        OptionError: the cluster has room for fewer, or for none.
    """
    room = min(int(resources.get(kind, 0) // amount) for kind, amount in share.items() if amount)
    if room < (wanted or 1):
        needs = " and ".join(f"{amount:g} {kind}" for kind, amount in share.items() if amount)
        raise OptionError(f"workers is {wanted or 1}: the cluster has room for {room} of {needs} each")
    return wanted or room
