"""Text <-> token ids: one canonical form, into which SentencePiece models are read and from which they are written."""

import json
import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Self

import tokenizers

from nemotron_asr import sentencepiece_model
from nemotron_asr.errors import CheckpointError
from nemotron_asr.languages import TAG
from nemotron_asr.sentencepiece_model import SPACE

__all__ = ["SPACE", "Tokenizer"]

MAX_BYTES = 64 * 2**20
MAX_PIECES = 2**20
RAREST = -20.0
"""Lower bound of a piece's score."""

_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))

_OUTSIDE = ("<blank>", "<pad>")  # what transformers appends to the pieces that the model emits


class Tokenizer:
    """The pieces of one checkpoint: ids are rows of its embedding.

    Attributes:
        vocab_size: pieces that the model emits, without blank.
        unknown: the id that stands for text without a piece, if there is one.
        language_tags: id -> locale of the pieces that are language tags, e.g. `{2947: "en-US"}`.
        frequencies: how often each piece is expected to be among the pieces of a text; together 1.
        replace_characters: what is done to a text before pieces are looked for: "é" in two parts becomes one, say.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer.

        Raises:
            CheckpointError: its ids have gaps, or it has no pieces, or too many, or spells characters in bytes.
        """
        added = inner.get_added_tokens_decoder()
        self._text = inner.to_str()
        document = json.loads(self._text)
        self._pieces = _pieces(inner.get_vocab())
        if _BYTES.issubset(self._pieces):
            raise CheckpointError("tokenizers that spell characters in bytes (byte fallback) are not supported")
        self._symbols = {token.content for token in added.values()}
        self.vocab_size = len(self._pieces)
        self.unknown = _unknown(document["model"])
        self.frequencies = _frequencies(document["model"], self._pieces)
        self.language_tags = {i: tag[1] for i, piece in enumerate(self._pieces) if (tag := TAG.fullmatch(piece))}
        silent = {i for i, token in added.items() if token.special} | {self.unknown}
        self._silent = silent - self.language_tags.keys()
        self.replace_characters = sentencepiece_model.character_rules(sentencepiece_model.charsmap(document))

    @cached_property
    def _inner(self) -> tokenizers.Tokenizer:
        """Built at its first use: it takes memory, and transcribing does not need it."""
        return tokenizers.Tokenizer.from_str(self._text)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read the text of a `tokenizer.json`.

        Raises:
            CheckpointError: too large, not JSON, or not a tokenizer.
        """
        _check_size(text, "tokenizer.json")
        document = _parse(text)
        sentencepiece_model.character_rules(sentencepiece_model.charsmap(document))  # or the library panics on them
        try:
            return cls(tokenizers.Tokenizer.from_str(json.dumps(document)))
        except CheckpointError:
            raise
        except Exception as error:  # noqa: BLE001 - the library raises nothing more specific
            raise CheckpointError(f"tokenizer.json is not a tokenizer: {error}") from None

    @classmethod
    def from_sentencepiece(cls, model: bytes) -> Self:
        """Read a SentencePiece `tokenizer.model` (Unigram or BPE): same ids, same encodings.

        Raises:
            CheckpointError: too large, not a SentencePiece model, or of a kind that is not supported.
        """
        _check_size(model, "the SentencePiece model")
        return cls(sentencepiece_model.read(model))

    def to_json(self, *, for_transformers: bool = False) -> str:
        """The text of a `tokenizer.json`; `transformers` asks for `<blank>` and `<pad>`, and for tags to be special."""
        if not for_transformers:
            return self._text
        document = json.loads(self._text)
        added = {token["id"]: token for token in document["added_tokens"]}
        special = [*self.language_tags, *range(self.vocab_size, self.vocab_size + len(_OUTSIDE))]
        for id_, content in zip(special, [*map(self.piece, self.language_tags), *_OUTSIDE], strict=True):
            flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
            added[id_] = {"id": id_, "content": content, **flags, "normalized": True, "special": True}
        document["added_tokens"] = [added[id_] for id_ in sorted(added)]
        return json.dumps(document, ensure_ascii=False)

    def to_sentencepiece(self) -> bytes:
        """A SentencePiece model with the same ids.

        Raises:
            CheckpointError: the pieces are neither Unigram nor BPE.
        """
        return sentencepiece_model.write(self._inner, self._pieces, self.unknown)

    def encode(self, text: str) -> list[int]:
        """The ids of a text; language tags in it are single ids."""
        # A text that is nothing but a symbol would be taken for the symbol's own definition, which has no space.
        text = f" {text}" if text in self._symbols else self.replace_characters(text)
        return self._inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, language tags included; unknown and control pieces, blank and padding are not text."""
        visible = [i for i in ids if i < self.vocab_size and i not in self._silent]
        return self._inner.decode(visible, skip_special_tokens=False)

    def text(self, id_: int) -> str:
        """The text that one id adds, with its leading space; unknown and control pieces add none."""
        return "" if id_ in self._silent else self._pieces[id_].replace(SPACE, " ")

    def piece(self, id_: int) -> str:
        """The piece of an id, a leading space written `▁`."""
        return self._pieces[id_]

    def id_of(self, piece: str) -> int | None:
        """The id of a piece, or None if there is no such piece."""
        id_ = self._inner.token_to_id(piece)
        return id_ if id_ is not None and id_ < self.vocab_size else None


def _check_size(data: bytes | str, what: str) -> None:
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{what} has {len(data)} bytes; the limit is {MAX_BYTES}")


def _parse(text: bytes | str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"tokenizer.json is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise CheckpointError("tokenizer.json is not a tokenizer: it has no model")
    return document


def _pieces(vocab: dict[str, int]) -> list[str]:
    """The pieces in the order of their ids, without what transformers appends."""
    pieces = sorted(vocab, key=vocab.__getitem__)
    while pieces and pieces[-1] in _OUTSIDE:
        pieces.pop()
    if not 0 < len(pieces) <= MAX_PIECES:
        raise CheckpointError(f"the tokenizer has {len(pieces)} pieces; between 1 and {MAX_PIECES} are supported")
    if vocab[pieces[0]] != 0 or vocab[pieces[-1]] != len(pieces) - 1:
        raise CheckpointError(f"the tokenizer's ids are not 0..{len(pieces) - 1} without gaps")
    return pieces


def _frequencies(model: dict[str, Any], pieces: list[str]) -> list[float]:
    """Unigram's own, which are its scores; of a BPE, whose ids are in order, what Zipf's law expects."""
    if model["type"] == "Unigram":
        scores = {piece: max(score, RAREST) for piece, score in model["vocab"] if score < 0}  # symbols have 0
        likely = [math.exp(scores.get(piece, RAREST)) for piece in pieces]
    else:
        likely = [1 / (5 + rank) for rank in range(len(pieces))]
    whole = sum(likely)
    return [each / whole for each in likely]


def _unknown(model: dict[str, Any]) -> int | None:
    if model["type"] != "Unigram":
        id_ = model["vocab"].get(model.get("unk_token"))
        return None if id_ is None else int(id_)
    if model["unk_id"] is None:  # then the library fails at the first unknown character
        raise CheckpointError("the tokenizer has no unk_id, which Unigram needs")
    return int(model["unk_id"])
