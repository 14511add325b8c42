"""What `nemotron-asr finetune` is told, and the promise that a run goes on with what it was begun with."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nemotron_asr.checkpoint.adapter import is_adapter
from nemotron_asr.checkpoint.sources import place
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.sources import read_clips
from nemotron_asr.errors import OptionError
from nemotron_asr.training.data import Source
from nemotron_asr.training.parallel import processes
from nemotron_asr.training.state import write_whole
from nemotron_asr.training.trainer import BEST, LAST

FREE = {"device", "workers", "output"}
"""Options that may differ when a run goes on: they do not change what is computed."""


@dataclass(frozen=True)
class FinetuneConfig:
    """What `nemotron-asr finetune` is told."""

    train: tuple[Source, ...]
    validation: tuple[Source, ...]
    output: Path
    model: str = "tiny"
    lora_rank: int = 0  # 0: no adapters, the weights themselves are trained
    freeze_encoder: bool = False
    new_locale: str = ""  # LOCALE or LOCALE:LIKE, see `add_locale`
    new_pieces: int = 0  # at most so many for characters that the tokenizer lacks, see `add_pieces`
    steps: int = 1000
    batch_seconds: float = 60.0  # audio per batch, padding included
    accumulate: int = 1  # batches per step
    lr: float = 0.0  # peak; 0: 3e-4, with adapters 1e-3
    warmup: int = 100  # steps
    ema: float = 0.999  # decay of the average of the weights
    latency_ms: int = 1120  # at which validation is done
    validate_every: int = 0  # steps; 0: ten times in a run
    augment: bool = True
    bfloat16: bool = False
    recompute: bool = False  # forget activations, to save memory
    seed: int = 0
    device: str = "cpu"
    workers: int = 0

    @property
    def peak_lr(self) -> float:
        """The rate in use."""
        return self.lr or (1e-3 if self.lora_rank else 3e-4)

    @property
    def grows(self) -> bool:
        """Whether the model gets rows that it has not."""
        return bool(self.new_locale or self.new_pieces)

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            OptionError: options contradict each other, or a number is none.
        """
        _check_numbers(asdict(self))
        for source in (*self.train, *self.validation):
            _check_numbers(asdict(source), f"{source.manifest}: ")
        if self.lora_rank and self.freeze_encoder:
            raise OptionError("adapters are in the encoder, which is frozen; choose one of the two")
        if self.lora_rank and (folder := place(self.model)) and is_adapter(folder):
            raise OptionError(f"{self.model} is an adapter itself; merge it first: nemotron-asr convert")

    def claim(self, weights: str) -> None:
        """Make the output folder this run's: for good, once something in it has been trained or measured.

        Args:
            weights: the fingerprint of the model's, for another model may lie where it lay.

        Raises:
            OptionError: it holds a run with other options, of more or fewer processes, of another model, or on a
                manifest that says something else now.
            ManifestError: a manifest cannot be read.
        """
        clips = {str(source.manifest): _digest(source) for source in (*self.train, *self.validation)}
        options = {name: value for name, value in asdict(self).items() if name not in FREE}
        ours = json.loads(
            json.dumps({**options, "processes": processes(), "weights": weights, "clips": clips}, default=str)
        )
        path = self.output / "options.json"
        if path.exists() and any((self.output / name).exists() for name in (LAST, BEST)):
            self._check_same(ours, json.loads(path.read_text(encoding="utf-8")))
        self.output.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(ours, indent=2))

    def _check_same(self, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        """Refuse to go on with another run than that which was begun; older versions told less of theirs."""
        changed = {name: theirs[name] for name in ours if name in theirs and theirs[name] != ours[name]}
        weights, clips = changed.pop("weights", None), changed.pop("clips", {})
        if changed:
            said = ", ".join(f"{name} {_said(value)}" for name, value in changed.items())
            raise OptionError(f"{self.output} holds a run with {said}; repeat that, or choose another folder")
        if weights:
            raise OptionError(f"{self.output} holds a run on other weights of {self.model}; choose another folder")
        for manifest, digest in clips.items():
            if digest != ours["clips"][manifest]:
                raise OptionError(f"{self.output} holds a run on other clips of {manifest}; choose another folder")


def _digest(source: Source) -> str:
    """Changes when a source says something else: other recordings, texts or languages."""
    clips = (clip for clip in read_clips(source.manifest, source.language) if isinstance(clip, Clip))
    lines = (f"{clip.name}|{clip.language}|{clip.text}\n" for clip in clips)
    return hashlib.sha256("".join(lines).encode(errors="surrogatepass")).hexdigest()[:16]


def _check_numbers(options: Mapping[str, Any], where: str = "") -> None:
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(f"{where}{name} is {value}; it must be a finite number")


def _said(value: Any) -> str:
    """A value as people give it: a source by its path, with what is not as it mostly is."""
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if not isinstance(value, dict):
        return repr(value)
    usual = asdict(Source(Path()))
    unusual = [f"{name} {value[name]}" for name in value if name != "manifest" and value[name] != usual.get(name)]
    return " ".join([value["manifest"], *(f"({each})" for each in unusual)])
