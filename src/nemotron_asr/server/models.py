"""The models that a server has, by name."""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from nemotron_asr.checkpoint.adapter import CONFIG, is_adapter
from nemotron_asr.checkpoint.files import read_json
from nemotron_asr.config import LATENCIES, SAMPLE_RATE
from nemotron_asr.engine import Engine
from nemotron_asr.errors import OptionError
from nemotron_asr.languages import languages_of
from nemotron_asr.recognizer import Recognizer, load
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.settings import Settings

RESERVED = 128
"""Live streams whose memory a server takes before it is ready, if it sustains as many."""


@dataclass(frozen=True)
class Model:
    """A loaded model with its engine.

    Attributes:
        name: by which clients ask for it.
        created: when it was loaded, in seconds since 1970.
        parent: the model that it was adapted from, by its name here if it is served, too; None if it is a whole one.
    """

    name: str
    recognizer: Recognizer
    engine: Engine
    created: int
    parent: str | None = None

    @property
    def languages(self) -> list[str]:
        """The locales that it can be asked for."""
        return languages_of(self.recognizer.config, self.recognizer.tokenizer.language_tags.values())


class Models:
    """All models; empty until they are loaded."""

    def __init__(self) -> None:
        self.by_name: dict[str, Model] = {}  # another one when a model is loaded: that goes on in a thread
        self._names: Collection[str] = ()  # of all, also those that are still to be loaded

    @property
    def engines(self) -> dict[str, Engine]:
        """Those of the models, by their names."""
        return {name: model.engine for name, model in self.by_name.items()}

    def load(self, settings: Settings) -> None:
        """Load the models of the settings and have each hear something, so that its first stream does not wait.

        Raises:
            CheckpointError: a model is not there, or not one.
            OptionError: two models have the same name, or an option is unknown.
        """
        places = _places(settings.model)
        self._names = places
        names = {_lasting(place): name for name, place in reversed(places.items())}
        for name, place in places.items():
            recognizer = load(place, settings.device, settings.dtype)
            engine = Engine(recognizer, settings.max_streams or None)
            engine.reserve(RESERVED)
            _warm_up(engine)
            parent = _parent(Path(place), names)
            self.by_name = {**self.by_name, name: Model(name, recognizer, engine, int(time.time()), parent)}

    def find(self, name: str | None, foreign: Iterable[str] = ()) -> Model:
        """The model that a client asks for.

        Args:
            name: nothing is the first model.
            foreign: patterns of names that clients of other services use; they mean the first model, too.

        Raises:
            Problem: there is no such model, or none yet.
        """
        if name in self.by_name:
            return self.by_name[name]
        if not self.by_name or name in self._names:
            raise Problem(Kind.UNAVAILABLE, "the model is still being loaded")
        if not name or any(fnmatch(name.lower(), pattern) for pattern in foreign):
            return next(iter(self.by_name.values()))
        raise Problem(Kind.NOT_FOUND, f"model {name!r} is unknown; choose {', '.join(self.by_name)}", "model")

    async def close(self, *, drain: bool) -> None:
        """End all engines."""
        for engine in self.engines.values():
            await engine.close(drain=drain)


def _places(sources: Iterable[str]) -> dict[str, str]:
    """Where models are, by their names."""
    places: dict[str, str] = {}
    for source in sources:
        name, equals, place = source.partition("=")
        if not equals or Path(source).exists():  # folders of experiments have = in their names
            name, place = source.rstrip("/").rpartition("/")[2], source
        if name in places:
            raise OptionError(f"two models are named {name!r}; name one of them otherwise: --model NAME={place}")
        places[name] = place
    return places


def _parent(folder: Path, names: Mapping[str, str]) -> str | None:
    """What an adapter was made for, by the names of places."""
    if not is_adapter(folder):
        return None
    whole = str(read_json(folder / CONFIG)["base_model_name_or_path"])
    return names.get(_lasting(whole), Path(whole).name)


def _lasting(place: str) -> str:
    """A model as an adapter names it, which may lie elsewhere."""
    return str(Path(place).resolve()) if Path(place).exists() else place


def _warm_up(engine: Engine) -> None:
    """A chunk and a finalize at every latency: whatever is compiled or allocated at its first use, is."""
    for latency_ms in LATENCIES:
        noise = np.random.default_rng(0).normal(0, 0.05, 2 * SAMPLE_RATE).astype(np.float32)
        with engine.open(latency_ms=latency_ms, recording=True) as session:
            session.feed(noise)
            session.finalize().result()
        for _ in session:
            pass
