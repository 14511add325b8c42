"""Text and ids: transformers' saved tokenizers, round trips, and what is not text."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Inner
from transformers import ParakeetTokenizer
from transformers.convert_slow_tokenizer import ParakeetConverter

from nemotron_asr.errors import CheckpointError
from nemotron_asr.tokenizer import Tokenizer
from tests.sentences import SENTENCES, TAGS, train

TINY = Path(__file__).parent / "data" / "conformance" / "tiny_tokenizer" / "tokenizer.model"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_sentencepiece(train("unigram"))


def as_released(model: Path) -> ParakeetTokenizer:
    """The tokenizer as transformers converts it: `<pad>` and `<blank>` after the pieces, tags marked special."""
    converted = ParakeetTokenizer(
        tokenizer_object=ParakeetConverter(str(model)).converted(), clean_up_tokenization_spaces=False
    )
    tags = [token for token in converted.get_vocab() if token in {*TAGS, "<en-GB>", "<fr-FR>", "<ja-JP>"}]
    converted.add_tokens([AddedToken(t, normalized=False, special=True) for t in ("<pad>", "<blank>")])
    converted.add_special_tokens({"pad_token": "<pad>", "unk_token": "<unk>", "additional_special_tokens": tags})
    return converted


def test_ids_pieces_and_tags(tokenizer: Tokenizer) -> None:
    assert sorted(tokenizer.language_tags.values()) == ["de-DE", "en-US", "haw-US"]
    for id_, locale in tokenizer.language_tags.items():
        assert tokenizer.piece(id_) == f"<{locale}>"
        assert tokenizer.id_of(f"<{locale}>") == id_
        assert tokenizer.encode(f"So. <{locale}>")[-1] == id_
    assert tokenizer.id_of("no such piece") is None
    assert tokenizer.unknown == tokenizer.id_of("<unk>") == 0
    assert any(tokenizer.piece(id_).startswith("▁") for id_ in tokenizer.encode("hello there"))


def test_decoding_leaves_out_what_is_not_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Der Zug <de-DE>")
    assert tokenizer.decode(ids) == "Der Zug <de-DE>"
    assert tokenizer.decode([0, *ids, 0, tokenizer.vocab_size, tokenizer.vocab_size + 1]) == "Der Zug <de-DE>"
    assert tokenizer.decode([]) == ""


def test_text_of_single_ids_adds_up(tokenizer: Tokenizer) -> None:
    for text in SENTENCES:
        ids = tokenizer.encode(text)
        assert "".join(map(tokenizer.text, ids)).removeprefix(" ") == tokenizer.decode(ids)
    assert tokenizer.text(0) == ""


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_json_round_trip(kind: str) -> None:
    first = Tokenizer.from_sentencepiece(train(kind))
    again = Tokenizer.from_json(first.to_json())
    assert again.to_sentencepiece() == first.to_sentencepiece()
    for text in [*SENTENCES, "<de-DE>", " x <en-US> "]:
        assert again.encode(text) == first.encode(text)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "tiny"])
def test_reads_what_transformers_saves(tmp_path: Path, kind: str) -> None:
    model = TINY.read_bytes() if kind == "tiny" else train(kind)
    (tmp_path / "tokenizer.model").write_bytes(model)
    theirs = as_released(tmp_path / "tokenizer.model")
    theirs.save_pretrained(tmp_path)
    ours, original = (
        Tokenizer.from_json((tmp_path / "tokenizer.json").read_bytes()),
        Tokenizer.from_sentencepiece(model),
    )
    assert ours.vocab_size == original.vocab_size
    assert [ours.piece(i) for i in range(ours.vocab_size)] == [original.piece(i) for i in range(ours.vocab_size)]
    assert ours.language_tags == original.language_tags
    everything = [i for i in range(ours.vocab_size) if i != ours.unknown and i not in ours.language_tags]
    for ids in (everything, everything[::-1], everything[::7]):
        assert ours.decode(ids) == theirs.decode(ids, group_tokens=False) == original.decode(ids)
    assert Tokenizer.from_sentencepiece(ours.to_sentencepiece()).decode(everything) == ours.decode(everything)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_transformers_reads_what_is_written(tmp_path: Path, kind: str) -> None:
    ours = Tokenizer.from_sentencepiece(train(kind))
    (tmp_path / "tokenizer.json").write_text(ours.to_json(for_transformers=True), encoding="utf-8")
    theirs = ParakeetTokenizer.from_pretrained(tmp_path, pad_token="<pad>", unk_token="<unk>")
    assert theirs.convert_tokens_to_ids("<blank>") == ours.vocab_size
    for text in SENTENCES:
        ids = theirs(f"{text} <de-DE>")["input_ids"]
        assert ids == ours.encode(f"{text} <de-DE>")
        spoken = [i for i in ids if i != ours.unknown]
        assert theirs.decode(spoken, group_tokens=False) == ours.decode(spoken)
        assert "<de-DE>" not in theirs.decode(spoken, skip_special_tokens=True, group_tokens=False)
    assert Tokenizer.from_json((tmp_path / "tokenizer.json").read_text()).vocab_size == ours.vocab_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 200_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[]", "no model"),
        ('{"model": 3}', "no model"),
        ('{"model": {}, "normalizer": 5}', "not a tokenizer"),
        ('{"model": {"type": "Magic"}}', "not a tokenizer"),
        ('{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "0 pieces"),
    ],
)
def test_garbage_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        Tokenizer.from_json(text)
    assert "\n" not in str(error.value)


def test_hostile_character_rules_are_refused() -> None:
    document = json.loads(Tokenizer.from_sentencepiece(train("unigram")).to_json())
    rules = next(step for step in document["normalizer"]["normalizers"] if step["type"] == "Precompiled")
    for hostile in ("AAAA", "/////////////////////w==", "!!!", 7):
        rules["precompiled_charsmap"] = hostile
        with pytest.raises(CheckpointError, match="character rules"):
            Tokenizer.from_json(json.dumps(document))


def words(vocabulary: dict[str, int]) -> Inner:
    return Inner(models.WordLevel(vocabulary))


def test_ids_with_gaps_are_refused() -> None:
    with pytest.raises(CheckpointError, match="without gaps"):
        Tokenizer(words({"<unk>": 0, "b": 2}))


def test_only_unigram_and_bpe_become_sentencepiece() -> None:
    with pytest.raises(CheckpointError, match="WordLevel tokenizer has no SentencePiece form"):
        Tokenizer(words({"<unk>": 0, "b": 1})).to_sentencepiece()


def test_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nemotron_asr.tokenizer.MAX_BYTES", 10)
    with pytest.raises(CheckpointError, match="the limit is 10"):
        Tokenizer.from_json("x" * 11)
    with pytest.raises(CheckpointError, match="the limit is 10"):
        Tokenizer.from_sentencepiece(b"x" * 11)
