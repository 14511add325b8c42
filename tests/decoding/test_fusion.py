import pytest
import torch

from nemotron_asr.decoding.beam import Beam, beam, initial_beam
from nemotron_asr.decoding.fusion import Fusion
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from tests.conftest import PIECES, checkpoint_of, random_model, tiny_config

Words = tuple[str, ...]


class Favourite:
    """Knows one word, and remembers what it was asked for."""

    def __init__(self, word: str) -> None:
        self.word = word

    def start(self) -> Words:
        return ()

    def score(self, state: Words, word: str) -> tuple[Words, float]:
        return (*state, word), 0.0 if word == self.word else -8.0


@pytest.fixture(scope="module")
def model() -> NemotronASR:
    return random_model(tiny_config(vocab_size=len(PIECES), max_symbols=2))


@pytest.fixture(scope="module")
def tokenizer(model: NemotronASR) -> Tokenizer:
    return checkpoint_of(model).tokenizer


def said(model: NemotronASR, fusion: Fusion | None, *cuts: int) -> list[Emission]:
    frames = torch.randn(1, 30, model.config.d_model, generator=torch.Generator().manual_seed(5))
    state, emissions = initial_beam(model.transducer, 1, Beam(4, fusion)), []
    for start, end in zip((0, *cuts), (*cuts, 30), strict=True):
        ends, part = torch.tensor([end == 30]), frames[:, start:end]
        found, state = beam(model.transducer, part, torch.tensor([end - start]), state, ends=ends)
        emissions += found[0]
    return emissions


def test_words_are_scored_when_they_are_complete(tokenizer: Tokenizer) -> None:
    fusion = Fusion(Favourite("cat"), tokenizer, weight=0.5, bonus=1.0)
    context = fusion.begin()
    seen = []
    for piece in ("▁the", "▁cat", "er", ".", "▁cat", "<en-US>", "▁sat"):
        context = fusion.follow(context, PIECES.index(piece))
        seen.append((context.state, context.word, context.worth))
    assert seen == [
        ((), "the", -3.0), (("the",), "cat", 1.0), (("the",), "cater", -3.0), (("the",), "cater.", -3.0),
        (("the", "cater."), "cat", 1.0), ((), "", 0.0), ((), "sat", -3.0),
    ]  # fmt: skip


def test_only_spaces_and_tags_complete_a_word(tokenizer: Tokenizer) -> None:
    completing = Fusion(Favourite("cat"), tokenizer, weight=1.0, bonus=0.0).completing
    found = {piece for piece, complete in zip((*PIECES, ""), completing.tolist(), strict=True) if complete}
    assert found == {piece for piece in PIECES if piece.startswith(("▁", "<")) and piece != "<unk>"}


def test_a_model_without_weight_changes_nothing(model: NemotronASR, tokenizer: Tokenizer) -> None:
    assert said(model, Fusion(Favourite("cat"), tokenizer, weight=0, bonus=0)) == said(model, None)


def test_likely_words_are_said_more_often(model: NemotronASR, tokenizer: Tokenizer) -> None:
    plain = [emission.token for emission in said(model, None)]
    for word in ("sat", "mat", "rain"):
        liked = [e.token for e in said(model, Fusion(Favourite(word), tokenizer, weight=1.0, bonus=4.0))]
        assert liked.count(PIECES.index(f"▁{word}")) >= plain.count(PIECES.index(f"▁{word}"))
    assert liked != plain


def test_chunks_say_what_the_whole_says(model: NemotronASR, tokenizer: Tokenizer) -> None:
    fusion = Fusion(Favourite("rain"), tokenizer, weight=0.5, bonus=2.0)
    expected = [emission.token for emission in said(model, fusion)]
    assert [emission.token for emission in said(model, fusion, 7, 8, 21)] == expected
