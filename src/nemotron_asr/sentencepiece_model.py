"""SentencePiece's `tokenizer.model` <-> `tokenizers.Tokenizer`, so that both give the same ids for the same text."""

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import tokenizers
from google.protobuf.message import DecodeError
from sentencepiece import SentencePieceNormalizer, sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from nemotron_asr.errors import CheckpointError
from nemotron_asr.languages import TAG

SPACE = "▁"
"""What a space is inside a piece."""

_UNIGRAM, _BPE = 1, 2  # TrainerSpec.ModelType
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED = range(1, 6)  # ModelProto.SentencePiece.Type

Proto = Any  # protobuf builds the class at run time, out of a type checker's sight
Document = dict[str, Any]  # a parsed tokenizer.json


def read(model: bytes) -> tokenizers.Tokenizer:
    """Build the tokenizer that a SentencePiece Unigram or BPE model describes: same ids, same encodings.

    Raises:
        CheckpointError: the model is damaged, or of a kind that is not supported.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(model)
    except DecodeError as error:
        raise CheckpointError(f"the SentencePiece model is damaged: {error}") from None
    _check(proto)
    character_rules(proto.normalizer_spec.precompiled_charsmap)  # the other library panics on damaged ones
    tokenizer = tokenizers.Tokenizer(_model(proto))
    tokenizer.normalizer = _normalizer(proto)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    tokenizer.add_tokens([AddedToken(p.piece, normalized=True) for p in proto.pieces if p.type == _USER])
    tokenizer.add_special_tokens([AddedToken(p.piece, normalized=True) for p in proto.pieces if p.type == _CONTROL])
    return tokenizer


def _check(proto: Proto) -> None:
    if proto.trainer_spec.model_type not in {_UNIGRAM, _BPE}:
        raise CheckpointError(
            f"SentencePiece type {proto.trainer_spec.model_type} is not supported; 1 (Unigram), 2 (BPE)"
        )
    names = [piece.piece for piece in proto.pieces]
    if len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise CheckpointError("the SentencePiece model is damaged: pieces are empty, not UTF-8, or occur twice")
    unknown = [i for i, piece in enumerate(proto.pieces) if piece.type == _UNKNOWN]
    if len(unknown) != 1:
        raise CheckpointError(f"the SentencePiece model is damaged: {len(unknown)} unknown pieces instead of one")
    if not all(math.isfinite(piece.score) for piece in proto.pieces):
        raise CheckpointError("the SentencePiece model is damaged: scores are not finite")
    if any(piece.type == _UNUSED for piece in proto.pieces) or proto.trainer_spec.treat_whitespace_as_suffix:
        raise CheckpointError("SentencePiece models with unused pieces or spaces as suffixes are not supported")


def _model(proto: Proto) -> models.Model:
    unknown = next(i for i, piece in enumerate(proto.pieces) if piece.type == _UNKNOWN)
    if proto.trainer_spec.model_type == _UNIGRAM:
        vocab = [(piece.piece, piece.score) for piece in proto.pieces]
        return models.Unigram(vocab, unk_id=unknown)
    ids = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    unk = proto.pieces[unknown].piece
    return models.BPE(ids, _merges(proto, ids), unk_token=unk, fuse_unk=True)


def _merges(proto: Proto, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Every split of every piece into two pieces, best piece first: what SentencePiece tries in that order."""
    pieces = sorted((p for p in proto.pieces if p.type == _NORMAL), key=lambda p: -p.score)
    splits = ((p.piece[:i], p.piece[i:]) for p in pieces for i in range(1, len(p.piece)))
    return [(left, right) for left, right in splits if left in ids and right in ids]


def _normalizer(proto: Proto) -> normalizers.Normalizer:
    """Spaces and characters as SentencePiece treats them: over the whole text, user-defined symbols included."""
    spec = proto.normalizer_spec
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(" "))
        symbols = "|".join(re.escape(p.piece) for p in proto.pieces if _is_symbol(p))
        # Symbols are normalised before they are looked for, and there they must stay without the prefix.
        steps += [normalizers.Replace(Regex(f"^ (?=(?:{symbols})$)"), "")] if symbols else []
    if spec.remove_extra_whitespaces:
        edges = " +$" if spec.add_dummy_prefix else "^ +| +$"
        steps += [normalizers.Replace(Regex(edges), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])


def _is_symbol(piece: Proto) -> bool:
    return piece.type in {_USER, _CONTROL} or TAG.fullmatch(piece.piece) is not None


def charsmap(document: Document) -> bytes:
    """SentencePiece's compiled character rules in a parsed tokenizer.json; empty if it has none.

    Raises:
        CheckpointError: they are not base64, or there are several.
    """
    encoded: list[Any] = [
        step.get("precompiled_charsmap") for step in _steps(document) if step.get("type") == "Precompiled"
    ]
    if not encoded:
        return b""
    try:
        (rules,) = encoded
        return base64.b64decode(rules, validate=True)
    except (TypeError, ValueError):
        raise CheckpointError("tokenizer.json: the character rules are not one text in base64") from None


def _steps(document: Document) -> Iterator[Document]:
    """The normalizers, those inside of sequences included."""
    waiting = [document.get("normalizer")]
    while waiting:
        step = waiting.pop()
        if isinstance(step, dict):
            yield step
            inner = step.get("normalizers")
            waiting += inner if isinstance(inner, list) else []


def character_rules(rules: bytes) -> Callable[[str], str]:
    """SentencePiece's own replacement of characters by compiled rules, spaces untouched.

    `tokenizers` applies the same rules, but misses those that compose more than five bytes (Hangul, Vietnamese) and
    is not safe against damaged ones; text that has passed here first is left alone by it.

    Raises:
        CheckpointError: the rules are damaged.
    """
    if not rules:
        return str
    proto = sentencepiece_model_pb2.ModelProto()
    proto.normalizer_spec.precompiled_charsmap = rules
    try:
        normalizer = SentencePieceNormalizer(
            model_proto=proto.SerializeToString(),
            add_dummy_prefix=False,
            escape_whitespaces=False,
            remove_extra_whitespaces=False,
        )
        size_of_trie = int.from_bytes(rules[:4], "little")
        rules[4 + size_of_trie :].decode()  # `tokenizers` panics where this fails
    except (RuntimeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"the SentencePiece model's character rules are damaged: {error}") from None
    normalize: Callable[[str], str] = normalizer.Normalize
    return normalize


def write(tokenizer: tokenizers.Tokenizer, pieces: list[str], unknown: int | None) -> bytes:
    """Write the pieces as a SentencePiece model with the same ids.

    Raises:
        CheckpointError: they are neither Unigram nor BPE, or none stands for unknown text.
    """
    document = json.loads(tokenizer.to_str())
    kind = document["model"]["type"]
    if kind not in {"Unigram", "BPE"} or unknown is None:
        raise CheckpointError(f"a {kind} tokenizer has no SentencePiece form; Unigram or BPE with an unknown piece has")
    proto = sentencepiece_model_pb2.ModelProto()
    trainer = proto.trainer_spec
    trainer.model_type = _UNIGRAM if kind == "Unigram" else _BPE
    trainer.vocab_size = len(pieces)
    trainer.unk_id, trainer.unk_piece = unknown, pieces[unknown]
    trainer.bos_id = trainer.eos_id = trainer.pad_id = -1
    _write_normalizer(proto.normalizer_spec, document)
    _write_pieces(proto, document, pieces)
    return bytes(proto.SerializeToString())


def _write_normalizer(spec: Proto, document: Document) -> None:
    spec.precompiled_charsmap = charsmap(document)
    spec.name = "precompiled" if spec.precompiled_charsmap else "identity"
    spec.escape_whitespaces = True
    steps, before = list(_steps(document)), document.get("pre_tokenizer") or {}
    prepended = before.get("type") == "Metaspace" and before.get("prepend_scheme", "always") != "never"
    spec.add_dummy_prefix = prepended or any(step.get("type") == "Prepend" for step in steps)
    spec.remove_extra_whitespaces = any(step.get("pattern") == {"Regex": " {2,}"} for step in steps)


def _write_pieces(proto: Proto, document: Document, pieces: list[str]) -> None:
    scores = _scores(document["model"], pieces)
    special = {token["content"]: token["special"] for token in document["added_tokens"]}
    for id_, piece in enumerate(pieces):
        kind = _NORMAL
        if id_ == proto.trainer_spec.unk_id:
            kind = _UNKNOWN
        elif piece in special:
            kind = _CONTROL if special[piece] and not TAG.fullmatch(piece) else _USER
        proto.pieces.add(piece=piece, score=scores.get(piece, 0.0), type=kind)


def _scores(model: Document, pieces: list[str]) -> dict[str, float]:
    """Unigram's own scores; for BPE the negated rank of the first merge that makes the piece."""
    if model["type"] == "Unigram":
        return dict(model["vocab"])
    ranks: dict[str, int] = {}
    for merge in model["merges"]:
        ranks.setdefault("".join(merge), len(ranks))
    return {piece: -float(ranks.get(piece, len(ranks) + id_)) for id_, piece in enumerate(pieces)}
