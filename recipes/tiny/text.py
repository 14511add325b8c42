"""The text that `tiny` learns to write: one cleaning for the tokenizer, the manifests and the synthetic speech."""

import re
import unicodedata

LOCALES = (
    *("en-US", "en-GB", "es-US", "es-ES", "fr-FR", "fr-CA", "it-IT", "pt-BR", "pt-PT", "nl-NL", "de-DE", "tr-TR"),
    *("ru-RU", "ar-AR", "hi-IN", "ja-JP", "ko-KR", "vi-VN", "uk-UA", "pl-PL", "sv-SE", "cs-CZ", "nb-NO", "da-DK"),
    *("bg-BG", "fi-FI", "hr-HR", "sk-SK", "zh-CN", "hu-HU", "ro-RO", "et-EE", "el-GR", "lt-LT", "lv-LV", "mt-MT"),
    *("sl-SI", "he-IL", "th-TH", "nn-NO"),
)
"""The 40 supported locales; each has a language tag in the vocabulary, whether or not `tiny` is trained on it."""

ALPHABETS = {
    "de-DE": "a-zäöüß",
    "en-US": "a-z",
    "nl-NL": "a-zàéèêëïóöü",
    "it-IT": "a-zàéèìòù",
    "ru-RU": "\N{CYRILLIC SMALL LETTER A}-яё",
    "fr-FR": "a-zàâæçéèêëîïôœùûü",
    "es-ES": "a-záéíñóúü¿¡",
    "pt-BR": "a-zàáâãçéêíóôõú",
    "pl-PL": "a-ząćęłńóśźż",
    "sv-SE": "a-zåäöé",
    "uk-UA": "\N{CYRILLIC SMALL LETTER A}-щьюяґєії",
    "tr-TR": "a-zçğ\N{LATIN SMALL LETTER DOTLESS I}İöşüâîû",
    "ja-JP": "ぁ-ゖァ-ヺー々一-鿿、。",
}
"""The letters of each locale, as a regular expression's character class (upper and lower case alike)."""

PUNCTUATION = ".,?!:;'-"

# Escapes, since many of these look alike: apostrophes, hyphens, the ellipsis, soft hyphen and zero-width characters.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bb\u02bc\u00b4\u0060", "'"),
        **dict.fromkeys("\u2010\u2011", "-"),
        "\u2026": "...",
        **dict.fromkeys("\u00ad\u200b\u200e\u2060\ufeff", ""),
    }
)
_DOUBLE_QUOTES = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a]')
# An apostrophe is also part of words ("'s avonds", "O'Brien"): only before a capital or after a stop is it a quote.
_SINGLE_QUOTES = re.compile(r"(?<!\S)'(?=[A-ZÀ-Þ])|(?<=[.,?!])'")
_DASHES = re.compile(r"(?<!\S)-+(?!\S)|[\u2013\u2014\u2015\u2212]+")


def clean(text: str) -> str:
    """Gives `text` with plain punctuation and single spaces; case and letters stay as they are.

    Quotation marks, and dashes that stand between words, are not heard, so they are left out.
    """
    plain = unicodedata.normalize("NFC", text).translate(_PLAIN)
    plain = _DASHES.sub(" ", _SINGLE_QUOTES.sub("", _DOUBLE_QUOTES.sub("", plain)))
    return re.sub(r"\s+([.,?!:;])", r"\1", " ".join(plain.split())).lstrip(".,!:; ")


_DATE_FIELD = re.compile(r"'([^']+)'|d\.?|MMMM|y")
_UNABBREVIATED = {"'\N{CYRILLIC SMALL LETTER GHE}'.": "года"}  # the year's, in Russian dates


def fill_date(pattern: str, day: str, month: str, year: str) -> str:
    """Fills a CLDR date pattern such as `d. MMMM y` or `d 'de' MMMM 'de' y` with words.

    The stop after a day's digits makes an ordinal of them, which the word for it already is.
    """
    for short, whole in _UNABBREVIATED.items():
        pattern = pattern.replace(short, whole)
    words = {"d": day, "d.": day, "MMMM": month, "y": year}
    return _DATE_FIELD.sub(lambda field: field[1] or words[field[0]], pattern)


def is_native(text: str, locale: str) -> bool:
    """Tells whether cleaned `text` is written with the letters and punctuation of `locale` alone.

    Raises:
        KeyError: if `locale` is not in `ALPHABETS`.
    """
    return re.fullmatch(rf"[{ALPHABETS[locale]}{re.escape(PUNCTUATION)} ]+", text, re.IGNORECASE) is not None
