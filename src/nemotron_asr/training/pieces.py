"""A script that is new to a model: pieces for characters that its tokenizer lacks, and for common parts of words."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import sentencepiece
import tokenizers
import torch
from torch import Tensor

from nemotron_asr.checkpoint import Checkpoint, to_float
from nemotron_asr.errors import OptionError
from nemotron_asr.tokenizer import SPACE, Tokenizer

SELDOM = 2
"""A character that occurs less often gets no piece: nobody can learn it."""


def add_pieces(checkpoint: Checkpoint, texts: Iterable[str], most: int) -> Checkpoint:
    """Give a model pieces for the characters of some texts that its tokenizer lacks.

    Every new piece has such a character in it, so that all other texts are written as before. The rows of new pieces
    are the means of those that are there: to be trained.

    Args:
        checkpoint: a model.
        texts: what is to be written.
        most: new pieces at most; characters come first.

    Raises:
        OptionError: there are more new characters than pieces.
    """
    pieces = new_pieces(checkpoint.tokenizer, texts, most)
    if not pieces:
        return checkpoint

    def mean(rows: Tensor) -> Tensor:
        return rows.mean(0, keepdim=True).expand(len(pieces), *rows.shape[1:])

    tokenizer, weights = with_pieces(checkpoint.tokenizer, pieces), with_tokens(checkpoint, mean)
    config = replace(checkpoint.config, vocab_size=tokenizer.vocab_size)
    return replace(checkpoint, config=config, tokenizer=tokenizer, weights=weights)


def with_tokens(checkpoint: Checkpoint, new: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The weights with more tokens before blank; `new` makes their rows from those of the tokens that are there."""
    weights, blank = to_float(checkpoint.weights), checkpoint.config.blank
    for name in ("transducer.embed.weight", "transducer.head.weight", "transducer.head.bias"):
        rows = weights[name]
        weights[name] = torch.cat([rows[:blank], new(rows[:blank]), rows[blank:]])
    return weights


def new_pieces(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> dict[str, float]:
    """Pieces with a character that the tokenizer lacks, and their scores, the characters first.

    Raises:
        OptionError: there are more such characters than `most`.
    """
    words = Counter(word for text in texts for word in tokenizer.replace_characters(text).split())
    counts = Counter(character for word, times in words.items() for character in word * times)
    lacking = {c for c, n in counts.items() if n >= SELDOM and _lacks(tokenizer, c)}
    if not lacking:
        return {}
    if len(lacking) > most:
        raise OptionError(f"{most} new pieces are too few: the texts have {len(lacking)} characters that are new")
    foreign = [word for word in sorted(words.elements()) if lacking & set(word)]
    scores = _learn(foreign, most + len(counts) + 2, tokenizer)  # the unknown piece and the space are two more
    found = sorted((piece for piece in scores if lacking & set(piece)), key=lambda piece: -scores[piece])
    longer = [piece for piece in found if len(piece) > 1][: most - len(lacking)]
    return {piece: scores.get(piece, min(scores.values())) for piece in (*sorted(lacking), *longer)}


def _lacks(tokenizer: Tokenizer, character: str) -> bool:
    return tokenizer.id_of(character) is None and tokenizer.id_of(SPACE + character) is None


def _learn(words: Sequence[str], size: int, tokenizer: Tokenizer) -> dict[str, float]:
    """The pieces that SentencePiece finds in some words, of the tokenizer's kind, with their scores."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words), model_writer=model, model_type=_kind(tokenizer), vocab_size=size,
        hard_vocab_limit=False, character_coverage=1.0, normalization_rule_name="identity", bos_id=-1, eos_id=-1,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    learnt = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return {learnt.id_to_piece(i): learnt.get_score(i) for i in range(len(learnt)) if not learnt.is_unknown(i)}


def _kind(tokenizer: Tokenizer) -> str:
    kind: str = json.loads(tokenizer.to_json())["model"]["type"]
    return kind.lower()


def with_pieces(tokenizer: Tokenizer, pieces: dict[str, float]) -> Tokenizer:
    """The tokenizer with more pieces, the last of all."""
    document = json.loads(tokenizer.to_json())
    model: dict[str, Any] = document["model"]
    if model["type"] == "Unigram":
        model["vocab"] += [[piece, score] for piece, score in pieces.items()]
    else:
        model["vocab"] |= {piece: tokenizer.vocab_size + i for i, piece in enumerate(pieces)}
        model["merges"] += [[piece[:i], piece[i:]] for piece in pieces for i in _splits(piece, model["vocab"])]
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(document)))


def _splits(piece: str, vocab: dict[str, int]) -> list[int]:
    """Where a piece falls into two that exist."""
    return [i for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
