"""A script that a tokenizer lacks: new pieces for it, and every other text is written as before."""

import io

import pytest
import sentencepiece
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.checkpoint import Checkpoint
from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import OptionError
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.pieces import SELDOM, add_pieces

GREEK = [
    "Καλημέρα, τι κάνεις;", "Η θάλασσα είναι ήρεμη σήμερα.", "Θέλω να πάω στη θάλασσα.", "Σήμερα είναι Δευτέρα.",
    "Τι ώρα είναι;", "Η Μαρία και η Ελένη πάνε στη θάλασσα.", "Δεν θέλω να πάω σήμερα.", "Καλημέρα, Ελένη.",
] * 3  # fmt: skip
LATIN = [
    "The quick brown fox jumps over the lazy dog.", "Neben Deutsch spricht sie auch Englisch.", "Dat is niet zo.",
    "I noticed blood spurting from his left hand.", "Ja, een keer, en dan niet meer.",
]  # fmt: skip


def trained(kind: str) -> Tokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LATIN), model_writer=model, model_type=kind, vocab_size=60, hard_vocab_limit=False,
        character_coverage=1.0, user_defined_symbols=["<en-US>", "<el-GR>"], bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    return Tokenizer.from_sentencepiece(model.getvalue())


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    tokenizer = trained(request.param)
    torch.manual_seed(0)
    config = ModelConfig(
        n_mels=32, d_model=16, n_layers=1, n_heads=2, d_ff=32, subsampling_channels=4, d_prompt=16, d_pred=16,
        pred_layers=1, d_joint=16, vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
    return Checkpoint(config, tokenizer, dict(NemotronASR(config).state_dict()))


@pytest.fixture(scope="module")
def added(checkpoint: Checkpoint) -> Checkpoint:
    return add_pieces(checkpoint, GREEK, 60)


def test_the_new_script_can_be_written(checkpoint: Checkpoint, added: Checkpoint) -> None:
    before, after = checkpoint.tokenizer, added.tokenizer
    for text in GREEK:
        assert before.unknown in before.encode(text)
        assert before.unknown not in after.encode(text)
        assert after.decode(after.encode(text)) == text
    written = sum(len(after.encode(text)) for text in GREEK)
    assert written < 0.7 * sum(map(len, GREEK))  # by parts of words, not by characters alone


@given(text=st.text(alphabet="abcdefghijklmnopqrstuvwxyzTNDIJ ,.éß", max_size=60))
def test_other_texts_are_written_as_before(checkpoint: Checkpoint, added: Checkpoint, text: str) -> None:
    assert added.tokenizer.encode(text) == checkpoint.tokenizer.encode(text)


def test_tags_stay_single_pieces_and_ids_stay(checkpoint: Checkpoint, added: Checkpoint) -> None:
    assert added.tokenizer.encode("Καλημέρα <el-GR>")[-1] == checkpoint.tokenizer.id_of("<el-GR>")
    old = range(checkpoint.tokenizer.vocab_size)
    assert [added.tokenizer.piece(i) for i in old] == [checkpoint.tokenizer.piece(i) for i in old]


def test_it_survives_sentencepiece_and_back(added: Checkpoint) -> None:
    again = Tokenizer.from_sentencepiece(added.tokenizer.to_sentencepiece())
    assert [again.encode(text) for text in GREEK + LATIN] == [added.tokenizer.encode(text) for text in GREEK + LATIN]


def test_new_rows_lie_before_blank_and_are_the_mean(checkpoint: Checkpoint, added: Checkpoint) -> None:
    blank, new = checkpoint.config.blank, added.config.vocab_size - checkpoint.config.vocab_size
    assert 30 < new <= 60
    for name in ("embed.weight", "head.weight", "head.bias"):
        rows, old = added.weights[f"transducer.{name}"], checkpoint.weights[f"transducer.{name}"]
        torch.testing.assert_close(torch.cat([rows[:blank], rows[-1:]]), old)
        torch.testing.assert_close(rows[blank:-1], old[:blank].mean(0, keepdim=True).expand_as(rows[blank:-1]))
    NemotronASR(added.config).load_state_dict(added.weights)


def test_nothing_is_added_for_what_can_be_written_or_is_seldom(checkpoint: Checkpoint) -> None:
    assert add_pieces(checkpoint, LATIN, 10) is checkpoint
    assert add_pieces(checkpoint, [*LATIN, "ω"] * (SELDOM - 1), 10) is checkpoint


def test_one_word_of_one_letter_is_enough(checkpoint: Checkpoint) -> None:
    added = add_pieces(checkpoint, ["ჟ ჟ"] * SELDOM, 1)
    assert added.tokenizer.unknown not in added.tokenizer.encode("ჟ")


def test_too_few_pieces_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(OptionError, match=r"5 new pieces are too few: the texts have \d+ characters that are new"):
        add_pieces(checkpoint, GREEK, 5)
