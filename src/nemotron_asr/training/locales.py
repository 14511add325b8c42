"""A language that a model does not have yet: a prompt of its own, and a tag to say it by."""

import json
from contextlib import suppress
from dataclasses import replace

import tokenizers

from nemotron_asr.checkpoint import Checkpoint, to_float
from nemotron_asr.errors import LanguageError
from nemotron_asr.languages import AUTO, PROMPTS, TAG, canonical, resolve
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.pieces import with_tokens


def add_locale(checkpoint: Checkpoint, locale: str, like: str = AUTO) -> Checkpoint:
    """Give a locale a free row of the prompt and, where the model writes tags, a tag. Both begin as another's.

    Args:
        checkpoint: a model that takes prompts.
        locale: e.g. "cy-GB", in any case. One that the model has already stays as it is; one that it has a prompt for,
            and no tag, as the released one has for "af-ZA", gets the tag, and keeps its prompt unless `like` is given.
        like: the language whose prompt and tag it begins with, or an alias: the nearest one that the model knows. With
            "auto", the tag begins as the first one.

    Raises:
        LanguageError: not of the form of a locale, or the model has no prompts or no free row, or `like` has no tag.
    """
    locale = _spelled(locale, checkpoint)
    if not checkpoint.config.n_prompts:
        raise LanguageError(f"locale {locale!r} cannot be added: the model takes no prompts")
    return _with_tag(_with_prompt(checkpoint, locale, like), locale, like)


def _spelled(locale: str, checkpoint: Checkpoint) -> str:
    """A locale as the model has it, be it by an alias; a new one in the case of all."""
    language, _, region = locale.strip().replace("_", "-").partition("-")
    spelled = f"{language.lower()}-{region.upper()}"
    if not TAG.fullmatch(f"<{spelled}>"):
        raise LanguageError(f"locale {locale!r} has not the form of en-US or haw-US")
    with suppress(LanguageError):
        return canonical(spelled, checkpoint.config.prompts)
    return spelled


def _with_prompt(checkpoint: Checkpoint, locale: str, like: str) -> Checkpoint:
    config = checkpoint.config
    table = dict(config.prompts or PROMPTS)
    if locale in table:
        tags = checkpoint.tokenizer.language_tags.values()
        is_new = bool(tags) and locale not in tags
        return _with_row(checkpoint, table, locale, like) if is_new and like != AUTO else checkpoint
    free = sorted(set(range(config.n_prompts)) - set(table.values()))
    if not free:
        raise LanguageError(f"locale {locale!r} cannot be added: all {config.n_prompts} prompts are taken")
    return _with_row(checkpoint, {**table, locale: free[0]}, locale, like)


def _with_row(checkpoint: Checkpoint, table: dict[str, int], locale: str, like: str) -> Checkpoint:
    """The row of a locale begins as another's."""
    weights = to_float(checkpoint.weights)
    rows = weights["prompt.language.weight"].clone()
    rows[table[locale]] = rows[resolve(like, table)]
    weights["prompt.language.weight"] = rows
    return replace(checkpoint, config=replace(checkpoint.config, prompts=table), weights=weights)


def _with_tag(checkpoint: Checkpoint, locale: str, like: str) -> Checkpoint:
    tags = {tag: id_ for id_, tag in checkpoint.tokenizer.language_tags.items()}
    if not tags or locale in tags:
        return checkpoint
    like = canonical(like, checkpoint.config.prompts)
    if like not in {AUTO, *tags}:
        raise LanguageError(
            f"locale {locale!r} cannot begin as {like}, which has no tag; choose auto, {', '.join(tags)}"
        )
    tokenizer, added = with_piece(checkpoint.tokenizer, f"<{locale}>"), checkpoint.config.blank
    source = next(iter(tags.values())) if like == AUTO else tags[like]
    weights = with_tokens(checkpoint, lambda rows: rows[source : source + 1])
    final = checkpoint.config.final_tokens
    config = replace(
        checkpoint.config, vocab_size=tokenizer.vocab_size, final_tokens=(*final, added) if source in final else final
    )
    return replace(checkpoint, config=config, tokenizer=tokenizer, weights=weights)


def with_piece(tokenizer: Tokenizer, piece: str) -> Tokenizer:
    """The tokenizer with one more piece, the last, which is found in a text before all others."""
    document = json.loads(tokenizer.to_json())
    vocab = document["model"]["vocab"]
    if isinstance(vocab, list):
        vocab.append([piece, 0.0])
    else:
        vocab[piece] = tokenizer.vocab_size
    inner = tokenizers.Tokenizer.from_str(json.dumps(document))
    inner.add_tokens([tokenizers.AddedToken(piece, normalized=True)])
    return Tokenizer(inner)
