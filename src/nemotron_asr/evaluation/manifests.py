"""Manifests named on the command line -> clips to be heard."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from nemotron_asr.config import ModelConfig
from nemotron_asr.corpus import sources
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.errors import LanguageError, ManifestError, NemotronError
from nemotron_asr.evaluation.fleurs import fetch, is_fleurs
from nemotron_asr.evaluation.normalisation import units, words
from nemotron_asr.languages import AUTO, canonical, prompt_row


def read_clips(manifests: Iterable[str], config: ModelConfig, language: str = "") -> Iterator[Clip | NemotronError]:
    """All clips of manifests, each with its locale; what cannot be evaluated is an error in its place.

    Args:
        manifests: paths, of folders of recordings with their texts, too, or names of FLEURS test sets.
        config: of the model that is to hear them.
        language: of folders, and of clips whose line in a manifest does not say it.

    Raises:
        ManifestError: a manifest cannot be read at all, or not be had, or nobody says a folder's language.
        LanguageError: there is no such test set.
    """
    for manifest in chain.from_iterable(map(_paths, manifests)):
        for entry in sources.read_clips(manifest, language):
            yield entry if isinstance(entry, ManifestError) else _checked(entry, config)


def _paths(manifest: str) -> Iterator[Path]:
    if is_fleurs(manifest):
        yield from fetch(manifest)
    else:
        yield Path(manifest)


def _checked(clip: Clip, config: ModelConfig) -> Clip | NemotronError:
    try:
        if config.n_prompts:  # what a model without prompts hears, only its makers know
            prompt_row(clip.language, config)
        locale = canonical(clip.language, config.prompts)
    except LanguageError as error:
        return ManifestError(f"{clip.name}: {error}")
    if locale == AUTO:
        return ManifestError(f"{clip.name}: language {clip.language!r} is none that is spoken")
    if not units(clip.text, locale):
        return ManifestError(f"{clip.name}: {clip.text!r} has no words")
    if clip.ends and len(clip.ends) != (spoken := len(words(clip.text, locale))):
        return ManifestError(f"{clip.name}: the ends of {len(clip.ends)} words are given, but its text has {spoken}")
    return replace(clip, language=locale, duration=0.0)  # lines that claim other lengths mean the same clip
