"""The same ids as SentencePiece itself, for any text; damage is refused."""

import math
import unicodedata
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from nemotron_asr.errors import CheckpointError
from nemotron_asr.tokenizer import Tokenizer
from tests.sentences import SENTENCES, TAGS, train

KINDS = ["unigram", "bpe"]
ODD = [
    "", " ", "   ", "<de-DE>", " <de-DE> ", "<de-DE>x", "a<haw-US>b <en-US>", "done. <de-DE>", "<de-DE> next",
    "  two  spaces ", "tab\tand\nline", "no\u00a0break\u3000wide", "zero\u200bwidth", "☃☃ ☃", "x" * 300,
    "½ \ufb01 \uff21\uff22 \u3314", "e\u0301\u0302", "<xx-XX> <de-de> <s> </s>", "🙂 emoji", "a" + "\u0301" * 20,
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> bytes:
    return train(request.param)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_encodes_like_sentencepiece(model: bytes, form: Literal["NFC", "NFD"]) -> None:
    theirs, ours = SentencePieceProcessor(model_proto=model), Tokenizer.from_sentencepiece(model)
    texts = SENTENCES + [f"{text} {tag}" for text in SENTENCES for tag in TAGS] + ODD
    for text in (unicodedata.normalize(form, text) for text in texts):
        assert ours.encode(text) == theirs.encode(text), text


@settings(max_examples=300, deadline=None)
@given(
    words=st.lists(st.sampled_from([*" ".join(SENTENCES).split(), *TAGS, " ", "☃"]), max_size=12),
    kind=st.sampled_from(KINDS),
)
@example(words=["<de-DE>"], kind="unigram")
def test_encodes_any_words_like_sentencepiece(words: list[str], kind: str) -> None:
    text = " ".join(words)
    model = train(kind)
    assert Tokenizer.from_sentencepiece(model).encode(text) == SentencePieceProcessor(model_proto=model).encode(text)


def test_decodes_like_sentencepiece(model: bytes) -> None:
    theirs, ours = SentencePieceProcessor(model_proto=model), Tokenizer.from_sentencepiece(model)
    for text in [*SENTENCES, *(f"{text} <haw-US>" for text in SENTENCES)]:
        ids = theirs.encode(text)
        if theirs.unk_id() not in ids:  # which SentencePiece spells out and we leave out
            assert ours.decode(ids) == theirs.decode(ids)


UNUSUAL: list[dict[str, object]] = [
    {"normalization_rule_name": "identity"}, {"add_dummy_prefix": False}, {"remove_extra_whitespaces": False},
    {"bos_id": 1},
]  # fmt: skip


@pytest.mark.parametrize("options", UNUSUAL, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_unusual_settings(kind: str, options: dict[str, object]) -> None:
    model = train(kind, **options)
    theirs, ours = SentencePieceProcessor(model_proto=model), Tokenizer.from_sentencepiece(model)
    for text in [*SENTENCES, " spaced  out ", "done. <de-DE>", "🙂"]:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids, text
        assert theirs.unk_id() in ids or ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("options", [{}, *UNUSUAL], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_the_same_model(kind: str, options: dict[str, object]) -> None:
    model = train(kind, **options)
    ours = Tokenizer.from_sentencepiece(model)
    written = ours.to_sentencepiece()
    theirs, again = SentencePieceProcessor(model_proto=model), SentencePieceProcessor(model_proto=written)
    assert [again.id_to_piece(i) for i in range(len(again))] == [theirs.id_to_piece(i) for i in range(len(theirs))]
    for text in [*SENTENCES, *ODD]:
        assert again.encode(text) == theirs.encode(text), text
    assert Tokenizer.from_sentencepiece(written).to_json() == ours.to_json()


def test_bytes_are_refused() -> None:
    """A token's text would be half a character."""
    with pytest.raises(CheckpointError, match="byte fallback"):
        Tokenizer.from_sentencepiece(train("unigram", 700, byte_fallback=True))


@pytest.mark.parametrize("kind", ["word", "char"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(CheckpointError, match=r"type \d is not supported"):
        Tokenizer.from_sentencepiece(train(kind, 300))


@pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"not a model at all", bytes(range(256)) * 8])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="SentencePiece") as error:
        Tokenizer.from_sentencepiece(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [1, 100, 1000, 200_000])
def test_truncated_models_are_refused(cut: int) -> None:
    model = train("unigram")
    with pytest.raises(CheckpointError, match="SentencePiece"):
        Tokenizer.from_sentencepiece(model[: len(model) - cut])


def test_damaged_character_rules_are_refused() -> None:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(train("unigram"))
    rules = proto.normalizer_spec.precompiled_charsmap
    for damaged in (rules[:1000], b"\xff" * 64, rules[:4] + b"\xff" * (len(rules) - 4)):
        proto.normalizer_spec.precompiled_charsmap = damaged
        with pytest.raises(CheckpointError, match="character rules are damaged"):
            Tokenizer.from_sentencepiece(proto.SerializeToString())


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_scores_that_are_no_numbers_are_refused(score: float) -> None:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(train("unigram"))
    proto.pieces[10].score = score
    with pytest.raises(CheckpointError, match="scores are not finite"):
        Tokenizer.from_sentencepiece(proto.SerializeToString())


def test_repeated_and_unused_pieces_are_refused() -> None:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(train("unigram"))
    proto.pieces[10].piece = proto.pieces[11].piece
    with pytest.raises(CheckpointError, match="occur twice"):
        Tokenizer.from_sentencepiece(proto.SerializeToString())
    proto.pieces[10].piece = "something else"
    proto.pieces[10].type = 5
    with pytest.raises(CheckpointError, match="unused pieces"):
        Tokenizer.from_sentencepiece(proto.SerializeToString())
