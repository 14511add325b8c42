import torch

from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.spelling import Spelling


def spelled(spelling: Spelling, tokenizer: Tokenizer, text: str) -> list[int]:
    tokens = torch.tensor([tokenizer.encode(text)])
    letters, counts = spelling.targets(tokens, torch.tensor([tokens.shape[1]]))
    assert counts.tolist() == [len(letters)]
    return letters.tolist()


def test_case_spaces_and_punctuation_are_not_heard(tokenizer: Tokenizer) -> None:
    spelling = Spelling(tokenizer)
    assert spelled(spelling, tokenizer, "Neben, sie.") == spelled(spelling, tokenizer, "nebensie")
    assert len(spelled(spelling, tokenizer, "Neben sie")) == len("Nebensie")


def test_a_language_tag_is_one_letter(tokenizer: Tokenizer) -> None:
    spelling = Spelling(tokenizer)
    plain, tagged = spelled(spelling, tokenizer, "sie sah"), spelled(spelling, tokenizer, "sie sah <de-DE>")
    assert tagged[:-1] == plain
    assert tagged[-1] not in plain


def test_padding_is_not_spelled(tokenizer: Tokenizer) -> None:
    spelling, ids = Spelling(tokenizer), tokenizer.encode("sie sah")
    batch = torch.tensor([ids, ids])
    letters, counts = spelling.targets(batch, torch.tensor([len(ids), 1]))
    assert counts[0] > counts[1] > 0
    assert len(letters) == int(counts.sum())


def test_first_letters(tokenizer: Tokenizer) -> None:
    spelling, ids = Spelling(tokenizer), tokenizer.encode("sie sah, sie")
    first = spelling.first(torch.tensor(ids))
    assert first.tolist().count(0) >= 1  # the comma
    assert (first > 0).any()
