"""Text in many scripts, and tokenizers trained on it."""

import io
from functools import cache
from typing import Any

import sentencepiece

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, doesn't it?",
    "Please call me back at half past seven tomorrow morning.",
    "We measured 1,024 samples; 3.5 percent of them were wrong!",
    "Der Zug nach Nürnberg fährt heute von Gleis zwölf ab.",
    "Übermorgen müssen wir größere Äpfel kaufen, sagte Jürgen.",
    "Où est la bibliothèque ? C'est à côté de l'hôtel de ville.",
    "El niño comió piñas mañana, tarde y noche; ¿verdad?",
    "A ação não é só uma questão de coração, disse João.",
    "Perché la città è così bella d'estate?",
    "Zażółć gęślą jaźń, powiedział wąż do źdźbła.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία του κόσμου.",
    "Pijamalı hasta yağız şoföre çabucak güvendi.",
    "إِنَّ اللَّهَ مَعَ الصَّابِرِينَ وَالْعِلْمُ نُورٌ",
    "الطقس جميل اليوم في القاهرة، أليس كذلك؟",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
    "मुझे आज सुबह की चाय बहुत अच्छी लगी।",
    "今日はとても天気がいいですね。明日も晴れるでしょうか？",
    "我们明天早上八点在火车站见面，好吗？",
    "오늘은 날씨가 참 좋습니다. 내일도 맑을까요?",
    "วันนี้อากาศดีมาก เราไปเดินเล่นกันเถอะ",
    "Hôm nay trời đẹp quá, chúng ta đi dạo nhé!",
    "Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.",
    "Jó foxim és don Quijote húszwattos lámpánál ülve egy pár bűvös cipőt készít.",
]
TAGS = ["<de-DE>", "<en-US>", "<haw-US>"]


@cache
def train(kind: str, pieces: int = 420, **options: object) -> bytes:
    """A SentencePiece model of the sentences, with a few language tags as user-defined symbols."""
    model = io.BytesIO()
    settings: dict[str, Any] = {
        "bos_id": -1,
        "eos_id": -1,
        "user_defined_symbols": TAGS,
        "character_coverage": 0.98,
        **options,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3),
        model_writer=model,
        model_type=kind,
        vocab_size=pieces,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **settings,
    )
    return model.getvalue()
