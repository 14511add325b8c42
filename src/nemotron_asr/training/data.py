"""From manifests to batches: audio decoded once, a few fixed shapes, every draw a function of seed and step.

A batch belongs to a bucket: its length, its number of rows and its number of tokens are the bucket's, because a shape
that was seen before is several times faster. There is no sampler state: batch n is drawn from (seed, n), so training
that is killed goes on exactly where it was.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE, ModelConfig
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.sources import read_clips
from nemotron_asr.errors import ManifestError
from nemotron_asr.evaluation.normalisation import units
from nemotron_asr.features import mel_frames, window_samples, window_start
from nemotron_asr.model import encoder_frames
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.augment import AugmentConfig, Augmenter
from nemotron_asr.training.cache import AudioCache
from nemotron_asr.training.parallel import ALONE, Replicas
from nemotron_asr.training.selection import Example, Selection, select
from nemotron_asr.training.subwords import SubwordSplitter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A manifest to train on, or a folder of recordings with their texts."""

    manifest: Path
    weight: float = 1.0  # how often each of its clips is drawn, relative to other sources
    synthetic: bool = False  # its clips have digital silence: they always get a noise floor
    language: str = ""  # of the clips that do not say it: a folder's, or lines of a manifest
    share: float = 0.0  # of all audio, whatever its weight: for replay; 0: the weight decides


@dataclass(frozen=True)
class DataConfig:
    """How batches are made."""

    sources: tuple[Source, ...]
    cache: Path  # folder for decoded audio
    seed: int = 0
    batch_seconds: float = 60.0  # audio per batch, padding included
    bucket_seconds: tuple[float, ...] = (1.2, 1.6, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.5, 10.0, 14.0, 20.0)
    auto_share: float = 0.5  # of the samples get the prompt that asks for the language, the others their own
    language_weights: Mapping[str, float] = field(default_factory=dict)  # a further factor; 1 where not named
    lookaheads: tuple[int, ...] = (3, 0, 6, 13)  # one is drawn per batch
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    split_probability: float = 0.0  # of a piece to be written as two: subword regularization


@dataclass(frozen=True)
class Batch:
    """What one training step sees. Shapes depend on the bucket alone."""

    samples: Tensor  # (B, 1 + window) float32 from time `window_start(0) - 1` on
    lengths: Tensor  # (B,) samples of each utterance
    prompts: Tensor  # (B,) prompt ids
    tokens: Tensor  # (B, U) token ids, padded with 0
    token_lengths: Tensor  # (B,)
    lookahead: int  # encoder frames

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device."""
        samples, lengths, prompts = (x.to(device) for x in (self.samples, self.lengths, self.prompts))
        tokens, token_lengths = self.tokens.to(device), self.token_lengths.to(device)
        return Batch(samples, lengths, prompts, tokens, token_lengths, self.lookahead)

    @property
    def seconds(self) -> float:
        """Seconds of audio in all utterances, without padding."""
        return int(self.lengths.sum()) / SAMPLE_RATE


@dataclass(frozen=True)
class Item:
    """One example and where its audio lies."""

    example: Example
    audio: AudioCache
    weight: float
    synthetic: bool

    @property
    def samples(self) -> int:
        """Length of the audio."""
        return int(self.audio.lengths[self.example.clip.row])

    def load(self) -> Samples:
        """The audio, float32."""
        return self.audio[self.example.clip.row]


def load_source(
    source: Source, tokenizer: Tokenizer, model: ModelConfig, config: DataConfig, *, measured: bool = False
) -> list[Item]:
    """Read, decode and check a manifest; what is left out is logged with its reason.

    Args:
        source: what to read.
        tokenizer: turns text into tokens.
        model: says which prompt asks for a language.
        config: where decoded audio lies, and how long clips may be.
        measured: for validation, in which a text must have words to be right or wrong.
    """
    entries = read_clips(source.manifest, source.language)
    clips = [entry for entry in entries if isinstance(entry, Clip)]
    audio = AudioCache(clips, config.cache, source.manifest.stem)
    lengths = audio.lengths.tolist()
    clips = [replace(clip, row=row, duration=lengths[row] / SAMPLE_RATE) for row, clip in enumerate(clips)]
    selection = select(clips, tokenizer, model, longest=max(config.bucket_seconds))
    selection.errors += [entry for entry in entries if isinstance(entry, ManifestError)]
    if measured:
        _need_words(selection)
    for line in selection.report():
        log.info("%s: %s", source.manifest, line)
    path = config.cache / f"{audio.name}{'-validation' if measured else ''}-left-out.jsonl"
    _record(selection, path, audio.problems)
    weights = config.language_weights
    return [
        Item(example, audio, source.weight * weights.get(example.clip.language, 1.0), source.synthetic)
        for example in selection.examples
    ]


def _need_words(selection: Selection) -> None:
    """Set those clips aside, too, in whose texts there is no word."""
    examples, selection.examples = selection.examples, []
    for example in examples:
        if units(example.clip.text, example.clip.language):
            selection.examples.append(example)
        else:
            selection.reject("no words", example.clip)


def _record(selection: Selection, path: Path, problems: Mapping[int, str]) -> None:
    """Write down every clip that is left out, and why; of one that cannot be read, what the decoder said."""
    named = [(clip, problems.get(clip.row, why)) for why, clips in selection.rejected.items() for clip in clips]
    entries = [{"audio_filepath": clip.name, "text": clip.text, "reason": reason} for clip, reason in named]
    entries += [{"reason": str(error)} for error in selection.errors]
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")


def unusable(sources: Sequence[Source]) -> ManifestError:
    """What to say of sources of which every clip is left out."""
    return ManifestError(f"no usable clip in {', '.join(str(source.manifest) for source in sources)}")


def share_out(loaded: Sequence[tuple[Source, list[Item]]]) -> list[Item]:
    """All items, weighted so that the sources that ask for a share of the audio get it.

    Raises:
        ManifestError: nothing can be used of those that ask for none, or nothing is left to them.
    """
    total = sum(_heard(items) for source, items in loaded if not source.share)
    if not total and (learnt := [source for source, _ in loaded if not source.share]):
        raise unusable(learnt)
    rest = 1 - sum(source.share for source, items in loaded if items)
    if rest <= 0:
        raise ManifestError("replay leaves nothing for the manifests to train on; give it a share below one")
    result: list[Item] = []
    for source, items in loaded:
        factor = _factor(source.share * total / rest, _heard(items)) if source.share and total else 1.0
        result += [replace(item, weight=item.weight * factor) for item in items]
    return result


def _factor(wanted: float, heard: float) -> float:
    """What makes so much audio of what is heard."""
    return wanted / heard if heard else 1.0


def _heard(items: Sequence[Item]) -> float:
    """How much audio of these is drawn, beside that of others: a clip is drawn as often as its weight says."""
    return sum(item.weight * item.samples for item in items)


@dataclass(frozen=True)
class Bucket:
    """Items of similar length, and the shape of their batches."""

    samples: int  # per row
    tokens: int  # per row
    rows: int
    items: list[Item]

    @property
    def frames(self) -> int:
        """Encoder frames per row."""
        return encoder_frames(mel_frames(self.samples))


def make_buckets(items: Sequence[Item], bucket_seconds: Sequence[float], batch_seconds: float) -> list[Bucket]:
    """Sort items into the first bucket whose length and tokens they fit; empty buckets are left out.

    A bucket is made for the tokens of all but its most talkative twentieth: those go to the next, so that a few of them
    do not widen every batch. The last bucket takes what is left.
    """
    buckets, waiting = [], list(items)
    edges = sorted(bucket_seconds)
    for seconds in edges:
        samples = int(seconds * SAMPLE_RATE)
        fitting = [item for item in waiting if item.samples <= samples]
        if not fitting:
            continue
        counts = [len(item.example.tokens) for item in fitting]
        tokens = max(counts) if seconds == edges[-1] else int(np.quantile(counts, 0.95))
        tokens = -(-tokens // 4) * 4
        chosen = [item for item in fitting if len(item.example.tokens) <= tokens]
        buckets.append(Bucket(samples, tokens, max(1, int(batch_seconds / seconds)), chosen))
        taken = {id(item) for item in chosen}
        waiting = [item for item in waiting if id(item) not in taken]
    return buckets


class Batches(Dataset[Batch]):
    """Batch n of training, for any n: `batches[n]` depends on the configuration, its seed, n and the replica alone.

    All replicas draw the same shape and lookahead for a step, so that none waits for another, and rows of their own.
    """

    def __init__(self, config: DataConfig, tokenizer: Tokenizer, model: ModelConfig, replica: Replicas = ALONE) -> None:
        """Read all sources.

        Args:
            config: how batches are made.
            tokenizer: turns text into tokens.
            model: says which prompt asks for a language.
            replica: whose batches these are.

        Raises:
            ManifestError: a manifest cannot be read, or nothing in them can be used.
        """
        items = share_out([(source, load_source(source, tokenizer, model, config)) for source in config.sources])
        if not items:
            raise unusable(config.sources)
        self.config, self.auto, self.replica = config, model.default_prompt, replica
        self.buckets = make_buckets(items, config.bucket_seconds, config.batch_seconds)
        self._weights = [np.cumsum([item.weight for item in bucket.items]) for bucket in self.buckets]
        share = np.array([w[-1] / b.rows for w, b in zip(self._weights, self.buckets, strict=True)])
        self._bucket_shares = share / share.sum()
        self._augmenter = Augmenter(config.augment, config.seed) if config.augment else None
        self._split = SubwordSplitter(tokenizer)

    def __getitem__(self, step: int) -> Batch:
        """Draw a bucket, its rows, their prompts, one lookahead and all augmentation."""
        shared = np.random.default_rng([self.config.seed, step])
        index = int(shared.choice(len(self.buckets), p=self._bucket_shares))
        lookahead = int(shared.choice(self.config.lookaheads))
        rng = np.random.default_rng([self.config.seed, step, 1 + self.replica.rank])  # a last 0 would change nothing
        bucket, weights = self.buckets[index], self._weights[index]
        rows = np.searchsorted(weights, rng.random(bucket.rows) * weights[-1], side="right")
        items = [bucket.items[row] for row in rows]
        clips = [self._audio(item, items[i - 1], bucket.samples, rng) for i, item in enumerate(items)]
        auto = rng.random(len(items)) < self.config.auto_share
        prompts = [self.auto if a else item.example.prompt for a, item in zip(auto, items, strict=True)]
        tokens = [self._split(item.example.tokens, self.config.split_probability, bucket.tokens, rng) for item in items]
        self._silence_some(clips, tokens, bucket.samples, rng)
        return collate(clips, tokens, prompts, bucket, lookahead)

    def _audio(self, item: Item, other: Item, longest: int, rng: Generator) -> Samples:
        samples = item.load()
        if not self._augmenter:
            return samples
        return self._augmenter(samples, other.load(), longest, rng, synthetic=item.synthetic)

    def _silence_some(self, clips: list[Samples], tokens: list[list[int]], longest: int, rng: Generator) -> None:
        """Let noise in which nobody speaks stand in for some clips, and no text for theirs."""
        if not self._augmenter or not self._augmenter.config.non_speech_probability:  # spends no chance
            return
        for row in np.flatnonzero(rng.random(len(clips)) < self._augmenter.config.non_speech_probability):
            clips[row], tokens[row] = self._augmenter.non_speech(longest, rng), []

    def loader(self, start: int, stop: int, workers: int) -> DataLoader[Batch]:
        """Batches `start` to `stop - 1` in order, made ahead by `workers` processes (0: in this one)."""
        return DataLoader(self, batch_size=None, sampler=range(start, stop), num_workers=workers)


def collate(
    clips: Sequence[Samples], tokens: Sequence[Sequence[int]], prompts: Sequence[int], shape: Bucket, lookahead: int
) -> Batch:
    """Pad clips and tokens to the bucket's shape."""
    first = 1 - window_start(0)
    samples = torch.zeros(len(clips), 1 + window_samples(shape.frames))
    padded = torch.zeros(len(clips), shape.tokens, dtype=torch.long)
    for row, (clip, ids) in enumerate(zip(clips, tokens, strict=True)):
        heard = clip[: samples.shape[1] - first]  # a clip's last samples may lie behind the windows of all its frames
        samples[row, first : first + len(heard)] = torch.from_numpy(heard)
        padded[row, : len(ids)] = torch.tensor(ids)
    lengths = torch.tensor([len(clip) for clip in clips])
    token_lengths = torch.tensor([len(ids) for ids in tokens])
    return Batch(samples, lengths, torch.tensor(prompts), padded, token_lengths, lookahead)
