"""The clips that a model can learn from."""

from dataclasses import replace
from pathlib import Path

from nemotron_asr.config import ModelConfig
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.selection import select


def test_clips_that_cannot_be_learnt_are_set_aside_and_named(tokenizer: Tokenizer, config: ModelConfig) -> None:
    good = Clip(Path("good.wav"), 3.0, "Neben Deutsch", "de-DE")
    bad = {
        "empty text": replace(good, text=""),
        "unreadable": replace(good, duration=0.0),
        "not 0.1 to 20 s long": replace(good, duration=21.0),
        "more than 2 tokens per frame": replace(good, duration=0.3),
        "characters that the tokenizer lacks": replace(good, text="日本"),
        "language 'xx-YY' is unknown": replace(good, language="xx-YY"),
        "no tag for el-GR": replace(good, language="el-GR"),
    }
    selection = select([good, *bad.values(), replace(good, language="de")], tokenizer, config, longest=20.0)
    assert selection.rejected == {k: [v] for k, v in bad.items()}
    assert [example.clip.language for example in selection.examples] == ["de-DE", "de-DE"]
    tokens = selection.examples[0].tokens
    assert tokenizer.language_tags[tokens[-1]] == "de-DE"
    assert selection.examples[0].prompt == 9
    report = selection.report()
    assert report[0] == "2 clips, 0.00 h: de-DE 2"
    assert "left out, empty text: 1 (good.wav)" in report


def test_a_text_may_have_its_tag_already(tokenizer: Tokenizer, config: ModelConfig) -> None:
    clip = Clip(Path("a.wav"), 3.0, "Neben <de-DE> Deutsch", "de-DE")
    tagged = [replace(clip, text=f"{clip.text} <de-DE>"), replace(clip, text=f"{clip.text}<de-DE>", language="de")]
    plain, *others = select([clip, *tagged], tokenizer, config, longest=20.0).examples
    assert [example.tokens for example in others] == [plain.tokens] * 2
    [other] = select([replace(clip, text="Neben <de-DE> Deutsch <en-US>")], tokenizer, config, longest=20.0).examples
    assert [tokenizer.language_tags.get(token) for token in (plain.tokens[-1], other.tokens[-1])] == ["de-DE", "en-US"]
    assert len(other.tokens) == len(plain.tokens)
    [bare] = select([replace(clip, text="<de-DE>")], tokenizer, config, longest=20.0).rejected
    assert bare == "empty text"
