"""Locales, tiers, prompt rows; unknown languages are errors that help."""

import pytest
import yaml
from transformers.models.nemotron3_5_asr.processing_nemotron3_5_asr import DEFAULT_PROMPT_DICTIONARY

from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import ConfigError, LanguageError
from nemotron_asr.languages import (
    AUTO,
    LANGUAGES,
    PROMPTS,
    TAG,
    Tier,
    canonical,
    languages_of,
    name,
    prompt_table,
    resolve,
    without_region,
)


def test_forty_locales_in_three_tiers() -> None:
    tiers = [language.tier for language in LANGUAGES]
    assert [tiers.count(tier) for tier in Tier] == [19, 13, 8]
    assert len({language.locale for language in LANGUAGES}) == len({language.name for language in LANGUAGES}) == 40
    assert all(TAG.fullmatch(f"<{language.locale}>") and language.locale in PROMPTS for language in LANGUAGES)


def test_built_in_table_is_that_of_transformers() -> None:
    assert dict(PROMPTS) == DEFAULT_PROMPT_DICTIONARY


@pytest.mark.parametrize(
    ("language", "row", "locale"),
    [
        ("de-DE", 9, "de-DE"), ("de", 9, "de-DE"), ("DE_de", 9, "de-DE"), (" De ", 9, "de-DE"), ("es", 3, "es-US"),
        ("enGB", 1, "en-GB"), ("hi-HI", 6, "hi-IN"), ("ja-JA", 10, "ja-JP"), ("zh-ZH", 4, "zh-CN"),
        ("zh-TW", 5, "zh-TW"),
        ("no", 27, "no-NO"), ("nb", 103, "nb-NO"), ("auto", 101, AUTO), ("AUTO", 101, AUTO), ("haw-us", 97, "haw-US"),
        ("ja", 10, "ja-JP"), ("th", 32, "th-TH"), ("vi", 33, "vi-VN"), ("he", 64, "he-IL"), ("mt", 102, "mt-MT"),
        ("zh", 4, "zh-CN"),
    ],
)  # fmt: skip
def test_any_spelling(language: str, row: int, locale: str) -> None:
    assert resolve(language) == row
    assert canonical(language) == locale


def test_a_checkpoints_own_table_wins() -> None:
    own = {"de-DE": 0, "xx-YY": 1, "auto": 2}
    assert resolve("de", own) == 0
    assert canonical("DE", own) == "de-DE"
    assert canonical("xx_yy", own) == "xx-YY"
    with pytest.raises(LanguageError, match="'fr' is unknown; choose de-DE or auto"):
        resolve("fr", own)
    assert resolve("fr", {}) == resolve("fr") == 8


@pytest.mark.parametrize(
    ("language", "nearest"),
    [
        ("german", "the nearest one is de-DE$"),
        ("English", "the nearest ones are en-US, en-GB"),
        ("norwegian", "the nearest ones are nb-NO, nn-NO"),
        ("de-CH", "the nearest ones are de-DE, de"),
        ("deDE", "the nearest one is de-DE"),
        ("Deutsch", "choose en-US"),
        ("klingon", "choose en-US, en-GB, es-ES, .*[A-Z] or auto$"),
        ("", "choose en-US"),
    ],
)
def test_unknown_languages_name_the_nearest(language: str, nearest: str) -> None:
    with pytest.raises(LanguageError, match=f"{language!r} is unknown; {nearest}") as error:
        resolve(language)
    assert "\n" not in str(error.value)
    with pytest.raises(LanguageError):
        canonical(language)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ("en-AU", "en"), ("es_419", "es"), ("zh-Hant-HK", "zh"), ("en-GB", "en-GB"), ("de_de", "de_de"),
        ("auto", "auto"), ("cy-GB", "cy-GB"), ("tlh-US", "tlh-US"), ("", ""),
    ],
)  # fmt: skip
def test_a_region_that_a_model_does_not_have(asked: str, taken: str) -> None:
    assert without_region(asked, ModelConfig(prompts={**PROMPTS, "cy-GB": 120})) == taken


def test_the_locales_of_a_model() -> None:
    assert languages_of(ModelConfig()) == [language.locale for language in LANGUAGES]
    assert languages_of(ModelConfig(), ["de-DE", "af-ZA"])[-1] == "af-ZA"
    own = {"auto": 101, "cy-GB": 3, "de-DE": 9, "de": 9}
    assert languages_of(ModelConfig(prompts=own)) == ["de-DE", "cy-GB"]
    assert languages_of(ModelConfig(n_prompts=0, d_prompt=0)) == ["en-US"]
    assert without_region("en-AU", ModelConfig(n_prompts=0, d_prompt=0)) == "en"


def test_names() -> None:
    assert name("ja-JP") == "Japanese"
    assert name("xx-YY") == "xx-YY"


@pytest.mark.parametrize("text", ["de-DE", "<de>", "<DE-de>", "<d-DE>", "<de-DEU>", "<unk>", "<de_DE>"])
def test_what_is_no_tag(text: str) -> None:
    assert TAG.fullmatch(text) is None


def test_yaml_reads_no_as_false() -> None:
    raw = yaml.safe_load("{no: 27, no-NO: 27, de: 9}")
    assert False in raw
    assert prompt_table(raw) == {"no": 27, "no-NO": 27, "de": 9}
    assert prompt_table({"False": 27}) == {"no": 27}


@pytest.mark.parametrize("row", [-1, 1.5, "9", None, True, [1]])
def test_rows_are_whole_numbers(row: object) -> None:
    with pytest.raises(ConfigError, match="prompt_dictionary gives 'de' the row"):
        prompt_table({"de": row})
