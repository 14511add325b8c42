"""The languages that the model knows: 40 locales in three tiers, prompt rows, aliases, and the tags that it emits."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import ConfigError, LanguageError

AUTO = "auto"
"""The language that asks the model to find out."""

TAG = re.compile(r"<([a-z]{2,3}-[A-Za-z]{2})>")
"""A language tag as the model emits it, e.g. `<de-DE>` or `<haw-US>`; group 1 is the locale."""


class Tier(StrEnum):
    """How far the released checkpoint goes in a language."""

    TRANSCRIPTION_READY = "transcription-ready"
    BROAD_COVERAGE = "broad-coverage"
    ADAPTATION_READY = "adaptation-ready"  # fine-tune first


@dataclass(frozen=True)
class Language:
    """One supported locale.

    Attributes:
        locale: e.g. `de-DE`.
        name: in English.
        tier: how far the released checkpoint goes.
    """

    locale: str
    name: str
    tier: Tier


_NAMES = {
    Tier.TRANSCRIPTION_READY: {
        "en-US": "English (United States)",
        "en-GB": "English (United Kingdom)",
        "es-US": "Spanish (United States)",
        "es-ES": "Spanish (Spain)",
        "fr-FR": "French (France)",
        "fr-CA": "French (Canada)",
        "it-IT": "Italian",
        "pt-BR": "Portuguese (Brazil)",
        "pt-PT": "Portuguese (Portugal)",
        "nl-NL": "Dutch",
        "de-DE": "German",
        "tr-TR": "Turkish",
        "ru-RU": "Russian",
        "ar-AR": "Arabic",
        "hi-IN": "Hindi",
        "ja-JP": "Japanese",
        "ko-KR": "Korean",
        "vi-VN": "Vietnamese",
        "uk-UA": "Ukrainian",
    },
    Tier.BROAD_COVERAGE: {
        "pl-PL": "Polish",
        "sv-SE": "Swedish",
        "cs-CZ": "Czech",
        "nb-NO": "Norwegian Bokmål",
        "da-DK": "Danish",
        "bg-BG": "Bulgarian",
        "fi-FI": "Finnish",
        "hr-HR": "Croatian",
        "sk-SK": "Slovak",
        "zh-CN": "Chinese (Mandarin)",
        "hu-HU": "Hungarian",
        "ro-RO": "Romanian",
        "et-EE": "Estonian",
    },
    Tier.ADAPTATION_READY: {
        "el-GR": "Greek",
        "lt-LT": "Lithuanian",
        "lv-LV": "Latvian",
        "mt-MT": "Maltese",
        "sl-SI": "Slovenian",
        "he-IL": "Hebrew",
        "th-TH": "Thai",
        "nn-NO": "Norwegian Nynorsk",
    },
}

LANGUAGES = tuple(Language(locale, name, tier) for tier, names in _NAMES.items() for locale, name in names.items())
"""The 40 supported locales, best tier first."""

_BY_LOCALE = {language.locale: language for language in LANGUAGES}

# Prompt row, its locale, the aliases that the released checkpoint accepts.
_ROWS = """
    0 en-US en,     1 en-GB enGB,       2 es-ES esES,   3 es-US es,     4 zh-CN zh-ZH,  5 zh-TW,
    6 hi-IN hi hi-HI,                   7 ar-AR ar,     8 fr-FR fr,     9 de-DE de,     10 ja-JP ja-JA,
    11 ru-RU ru,    12 pt-BR,           13 pt-PT pt,    14 ko-KR ko ko-KO,              15 it-IT it,
    16 nl-NL nl,    17 pl-PL pl,        18 tr-TR tr,    19 uk-UA uk,    20 ro-RO ro,    21 el-GR el,
    22 cs-CZ cs,    23 hu-HU hu,        24 sv-SE sv,    25 da-DK da,    26 fi-FI fi,    27 no-NO no,
    28 sk-SK sk,    29 hr-HR hr,        30 bg-BG bg,    31 lt-LT lt,    32 th-TH,       33 vi-VN,
    34 id-ID,       35 ms-MY,           36 bn-IN,       37 ur-PK,       38 fa-IR,       39 ta-IN,
    40 te-IN,       41 mr-IN,           42 gu-IN,       43 kn-IN,       44 ml-IN,       45 si-LK,
    46 ne-NP,       47 km-KH,           48 sw-KE,       49 am-ET,       50 ha-NG,       51 zu-ZA,
    52 yo-NG,       53 ig-NG,           54 af-ZA,       55 rw-RW,       56 so-SO,       57 ny-MW,
    58 ln-CD,       59 or-KE,           60 et-EE et,    61 lv-LV lv,    62 sl-SI sl,    64 he-IL,
    65 ku-TR,       66 az-AZ,           67 ka-GE,       68 hy-AM,       69 uz-UZ,       70 tg-TJ,
    71 ky-KG,       80 qu-PE,           81 ay-BO,       82 gn-PY,       83 nah-MX,      96 mi-NZ,
    97 haw-US,      98 sm-WS,           99 to-TO,       100 fr-CA,      101 auto,       102 mt-MT,
    103 nb-NO nb,   104 nn-NO nn
"""
_SPLIT_ROWS = [(int(row), names) for row, *names in map(str.split, _ROWS.split(","))]

PROMPTS: Mapping[str, int] = MappingProxyType({name: row for row, names in _SPLIT_ROWS for name in names})
"""Language or alias -> prompt row of the released checkpoint; a checkpoint's own table wins over it."""

_MISSING = {"ja": "ja-JP", "th": "th-TH", "vi": "vi-VN", "he": "he-IL", "mt": "mt-MT", "zh": "zh-CN"}


def _fold(language: str) -> str:
    return language.strip().replace("_", "-").lower()


_LOCALES = {_fold(alias): names[0] for _, names in _SPLIT_ROWS for alias in names} | _MISSING


def resolve(language: str, prompts: Mapping[str, int] | None = None) -> int:
    """The prompt row of a language.

    Args:
        language: a locale or an alias, in any case, with `-` or `_`; or `auto`.
        prompts: the checkpoint's own table; the built-in one if it is absent or empty.

    Raises:
        LanguageError: the table does not have the language.
    """
    table = prompts or PROMPTS
    return table[_key(language, table)]


def prompt_row(language: str, config: ModelConfig) -> int:
    """The prompt row of a language in a model; 0 for a model that takes no prompt, which is an English one.

    Raises:
        LanguageError: the language is unknown, or not the model's.
    """
    if not config.n_prompts:
        if canonical(language) != AUTO and not canonical(language).startswith("en"):
            raise LanguageError(f"language {language!r} is not this model's; it takes auto or English")
        return 0
    return resolve(language, config.prompts)


def canonical(language: str, prompts: Mapping[str, int] | None = None) -> str:
    """The locale that a language or alias stands for, e.g. `de_de` -> `de-DE`, `es` -> `es-US`, `AUTO` -> `auto`.

    Raises:
        LanguageError: the table does not have the language.
    """
    table = prompts or PROMPTS
    key = _key(language, table)
    if key in _BY_LOCALE or key == AUTO:
        return key
    same_row = [name for name, row in table.items() if row == table[key]]
    return next((name for name in same_row if name in _BY_LOCALE or name == _LOCALES.get(_fold(name))), key)


def without_region(language: str, config: ModelConfig) -> str:
    """A language as a model has it, if only elsewhere: `en` for `en-AU`. Itself if the model has it, or has neither."""
    for known in (language, language_of(_fold(language))):
        with suppress(LanguageError):
            prompt_row(known, config)
            return known
    return language


def languages_of(config: ModelConfig, tags: Collection[str] = ()) -> list[str]:
    """The locales that a model can be asked for: those of the 40 that it has, best tier first, then its own.

    Args:
        config: of the model.
        tags: the locales that it can name; the built-in table has rows for others that nothing was trained on.
    """
    if not config.n_prompts:
        return ["en-US"]
    table = config.prompts or PROMPTS
    known = [language.locale for language in LANGUAGES if language.locale in table]
    return known + [locale for locale in table if locale not in known and (locale not in PROMPTS or locale in tags)]


def language_of(locale: str) -> str:
    """The language of a locale: `de` of `de-DE`."""
    return locale.partition("-")[0]


def name(language: str) -> str:
    """The English name of a locale; the locale itself if it is not one of the 40."""
    return _BY_LOCALE[language].name if language in _BY_LOCALE else language


def _key(language: str, table: Mapping[str, int]) -> str:
    """The table's own spelling of a language."""
    folded = {_fold(key): key for key in table}
    for wanted in (_fold(language), _fold(_LOCALES.get(_fold(language), ""))):
        if wanted in folded:
            return folded[wanted]
    raise LanguageError(f"language {language!r} is unknown; {_nearest(_fold(language), folded)}")


def _nearest(language: str, folded: Mapping[str, str]) -> str:
    """What to say instead: the same language elsewhere, else what is spelled alike, else all supported locales."""
    choices = [key for key in folded if language_of(key) == language_of(language)]
    choices = choices or [_fold(entry.locale) for entry in LANGUAGES if _is_called(language, entry)]
    choices = [folded[key] for key in choices or get_close_matches(language, folded, cutoff=0.75) if key in folded]
    if choices:
        return f"the nearest {'one is' if len(choices) == 1 else 'ones are'} {', '.join(choices)}"
    named = [key for key in folded.values() if key != AUTO]
    known = [key for key in named if key in _BY_LOCALE] or named
    return f"choose {', '.join(known)}" + (f" or {AUTO}" if AUTO in folded else "")


def _is_called(language: str, entry: Language) -> bool:
    return bool(get_close_matches(language, re.findall(r"\w+", _fold(entry.name)), n=1, cutoff=0.85))


def prompt_table(raw: Mapping[Any, Any]) -> dict[str, int]:
    """A checkpoint's prompt dictionary, checked; YAML reads the language `no` as False, which is repaired.

    Raises:
        ConfigError: a row is not a number of 0 or more.
    """
    for key, row in raw.items():
        if not isinstance(row, int) or isinstance(row, bool) or row < 0:
            raise ConfigError(f"prompt_dictionary gives {key!r} the row {row!r}; a row is a whole number from 0")
    return {"no" if key in {False, "False"} else str(key): row for key, row in raw.items()}
