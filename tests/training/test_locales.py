"""A language that a model lacks: a prompt and a tag, begun as another's, and nothing else changes."""

from dataclasses import replace

import pytest
import torch

from nemotron_asr.checkpoint import Checkpoint
from nemotron_asr.errors import LanguageError
from nemotron_asr.languages import PROMPTS, languages_of
from nemotron_asr.model import NemotronASR
from nemotron_asr.training.locales import add_locale
from tests.conftest import PIECES, checkpoint_of, random_model, tiny_config


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    with torch.no_grad():
        return checkpoint_of(random_model(tiny_config(vocab_size=len(PIECES))))


def test_a_new_locale_begins_as_another(checkpoint: Checkpoint) -> None:
    added = add_locale(checkpoint, "cy-GB", like="en-US")
    row = added.config.prompts["cy-GB"]
    assert row not in PROMPTS.values()
    assert {name: added.config.prompts[name] for name in PROMPTS} == dict(PROMPTS)
    rows, before = (x.weights["prompt.language.weight"] for x in (added, checkpoint))
    torch.testing.assert_close(rows[row], before[PROMPTS["en-US"]])
    tag, like = added.tokenizer.id_of("<cy-GB>"), checkpoint.tokenizer.id_of("<en-US>")
    assert tag == checkpoint.config.blank
    assert added.config.blank == tag + 1
    for name in ("embed.weight", "head.weight", "head.bias"):
        new, old = added.weights[f"transducer.{name}"], checkpoint.weights[f"transducer.{name}"]
        torch.testing.assert_close(new[tag], old[like])
        torch.testing.assert_close(torch.cat([new[:tag], new[tag + 1 :]]), old)
    NemotronASR(added.config).load_state_dict(added.weights)


@pytest.mark.parametrize(("like", "locale"), [("en", "en-US"), ("EN_us", "en-US"), ("ja", "ja-JP"), ("auto", "de-DE")])
def test_what_it_begins_as_may_be_an_alias(checkpoint: Checkpoint, like: str, locale: str) -> None:
    """With "auto", the tag begins as the first one."""
    added, source = add_locale(checkpoint, "cy-GB", like), checkpoint.tokenizer.id_of(f"<{locale}>")
    rows = added.weights["transducer.head.weight"]
    torch.testing.assert_close(rows[added.config.blank - 1], rows[source])
    prompts = added.weights["prompt.language.weight"]
    torch.testing.assert_close(
        prompts[added.config.prompts["cy-GB"]], prompts[PROMPTS[like if like == "auto" else locale]]
    )


def test_a_prompt_that_nothing_was_trained_on_begins_as_another_too(checkpoint: Checkpoint) -> None:
    """The released table has rows for languages that the model has no tags for."""
    row = PROMPTS["af-ZA"]
    before = checkpoint.weights["prompt.language.weight"]
    for like, source in (("de-DE", PROMPTS["de-DE"]), ("auto", row)):
        added = add_locale(checkpoint, "af-ZA", like)
        rows = added.weights["prompt.language.weight"]
        torch.testing.assert_close(rows[row], before[source])
        torch.testing.assert_close(
            torch.cat([rows[:row], rows[row + 1 :]]), torch.cat([before[:row], before[row + 1 :]])
        )
        tags = added.tokenizer.language_tags.values()
        assert languages_of(added.config, tags) == [*languages_of(checkpoint.config), "af-ZA"]


@pytest.mark.parametrize(
    ("written", "locale"), [("cy-gb", "cy-GB"), ("CY_GB", "cy-GB"), ("zh-ZH", "zh-CN"), ("EL-gr", "el-GR")]
)
def test_it_is_spelled_as_all_are(checkpoint: Checkpoint, written: str, locale: str) -> None:
    added = add_locale(checkpoint, written)
    assert locale in added.config.prompts or locale in PROMPTS
    assert added.tokenizer.language_tags[checkpoint.config.blank] == locale


def test_its_tag_is_one_token_in_a_text_and_all_others_stay(checkpoint: Checkpoint) -> None:
    added, text = add_locale(checkpoint, "cy-GB"), "▁the ▁cat"
    ids = added.tokenizer.encode(f"{text} <cy-GB>")
    assert ids[-1] == checkpoint.config.blank
    assert ids[:-1] == checkpoint.tokenizer.encode(f"{text} <en-US>")[:-1]
    assert added.tokenizer.language_tags == {**checkpoint.tokenizer.language_tags, ids[-1]: "cy-GB"}


def test_what_is_there_stays_and_what_cannot_be_is_named(checkpoint: Checkpoint) -> None:
    assert add_locale(checkpoint, "de-DE") is checkpoint
    assert add_locale(checkpoint, "de-de", "en-US") is checkpoint
    with pytest.raises(LanguageError, match="'welsh' has not the form"):
        add_locale(checkpoint, "welsh")
    full = replace(checkpoint, config=replace(checkpoint.config, prompts={f"x{i}": i for i in range(128)}))
    with pytest.raises(LanguageError, match="all 128 prompts are taken"):
        add_locale(full, "cy-GB")
    with pytest.raises(
        LanguageError, match="cannot begin as nl-NL, which has no tag; choose auto, de-DE, en-US, ja-JP"
    ):
        add_locale(checkpoint, "cy-GB", like="nl")
    silent = replace(checkpoint, config=replace(checkpoint.config, n_prompts=0))
    with pytest.raises(LanguageError, match="takes no prompts"):
        add_locale(silent, "cy-GB")


def test_its_tag_ends_an_utterance_as_the_other_does(checkpoint: Checkpoint) -> None:
    """Where the predictor starts anew behind the one, it does behind the other."""
    like = checkpoint.tokenizer.id_of("<en-US>")
    assert like is not None
    final = replace(checkpoint, config=replace(checkpoint.config, final_tokens=(like,)))
    added = add_locale(final, "cy-GB", like="en-US")
    assert added.config.final_tokens == (like, added.tokenizer.id_of("<cy-GB>"))
    assert add_locale(checkpoint, "cy-GB", like="en-US").config.final_tokens == ()
