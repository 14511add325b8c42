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
    "ru-RU": "а-яё",
    "fr-FR": "a-zàâæçéèêëîïôœùûü",
    "es-ES": "a-záéíñóúü¿¡",
    "pt-BR": "a-zàáâãçéêíóôõú",
    "pl-PL": "a-ząćęłńóśźż",
    "sv-SE": "a-zåäöé",
    "uk-UA": "а-щьюяґєії",
    "tr-TR": "a-zçğıİöşüâîû",
    "ja-JP": "ぁ-ゖァ-ヺー々一-鿿、。",
}
"""The letters of each locale, as a regular expression's character class (upper and lower case alike)."""

PUNCTUATION = ".,?!:;'-"

_INVISIBLE = dict.fromkeys("\u00ad\u200b\u200e\u2060\ufeff", "")
_PLAIN = str.maketrans({**dict.fromkeys("’‘ʻʼ´`", "'"), **dict.fromkeys("‐‑", "-"), "…": "...", **_INVISIBLE})
_QUOTATION_MARKS = re.compile('["„“”«»‟‹›]')
_FREE_STANDING_DASHES = re.compile(r"(?:(?<=\s)|^)[-–—−]+(?=\s|$)|[–—−]+")


def clean(text: str) -> str:
    """Gives `text` with plain punctuation and single spaces; case and letters stay as they are.

    Quotation marks, and dashes that stand between words, are not heard, so they are left out.
    """
    plain = unicodedata.normalize("NFC", text).translate(_PLAIN)
    plain = _FREE_STANDING_DASHES.sub(" ", _QUOTATION_MARKS.sub("", plain))
    return re.sub(r"\s+([.,?!:;])", r"\1", " ".join(plain.split())).lstrip(".,!:; ")


def is_native(text: str, locale: str) -> bool:
    """Tells whether cleaned `text` is written with the letters and punctuation of `locale` alone.

    Raises:
        KeyError: if `locale` is not in `ALPHABETS`.
    """
    return re.fullmatch(rf"[{ALPHABETS[locale]}{re.escape(PUNCTUATION)} ]+", text, re.IGNORECASE) is not None
