"""A language that a model does not have yet: a prompt of its own, and a tag to say it by."""

import json
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
        locale: e.g. "cy-GB". One that the model has already stays as it is.
        like: the language whose prompt and tag it begins with, or an alias: the nearest one that the model knows. With
            "auto", the tag begins as the first one.

    Raises:
        LanguageError: not of the form of a locale, or the model has no prompts or no free row, or `like` has no tag.
    """
    if not TAG.fullmatch(f"<{locale}>"):
        raise LanguageError(f"locale {locale!r} has not the form of en-US or haw-US")
    if not checkpoint.config.n_prompts:
        raise LanguageError(f"locale {locale!r} cannot be added: the model takes no prompts")
    return _with_tag(_with_prompt(checkpoint, locale, like), locale, like)


def _with_prompt(checkpoint: Checkpoint, locale: str, like: str) -> Checkpoint:
    config = checkpoint.config
    table = dict(config.prompts or PROMPTS)
    if locale in table:
        return checkpoint
    free = sorted(set(range(config.n_prompts)) - set(table.values()))
    if not free:
        raise LanguageError(f"locale {locale!r} cannot be added: all {config.n_prompts} prompts are taken")
    weights = to_float(checkpoint.weights)
    rows = weights["prompt.language.weight"].clone()
    rows[free[0]] = rows[resolve(like, table)]
    weights["prompt.language.weight"] = rows
    return replace(checkpoint, config=replace(config, prompts={**table, locale: free[0]}), weights=weights)


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
