"""Which sentences the fine-tuning proof takes, and its table."""

import json
from pathlib import Path

import pytest

from recipes.finetune.choose import choose
from recipes.finetune.table import table

CLIPS = [{"text": f"Sentence {number // 2}.", "audio_filepath": f"{number}.opus"} for number in range(100)]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_validated_on_is_not_trained_on(seed: int) -> None:
    chosen, others = choose(CLIPS, 40, 10, seed)
    assert (len(chosen), len(others)) == (40, 10)
    assert not {clip["text"] for clip in chosen} & {clip["text"] for clip in others}
    assert choose(CLIPS, 40, 10, seed) == (chosen, others)
    assert choose(CLIPS, 40, 10, seed + 1) != (chosen, others)


def test_too_few_clips_are_an_error() -> None:
    with pytest.raises(ValueError, match="100 clips are too few for 95 to train on and 60 others"):
        choose(CLIPS, 95, 60, 0)


def test_the_table_has_rates_and_changes(tmp_path: Path) -> None:
    for name, dutch, german in (("base", 0.9, 0.8), ("full", 0.45, 0.804)):
        scores = [{"locale": "nl-NL", "rate": dutch}, {"locale": "de-DE", "rate": german}]
        (tmp_path / f"{name}.json").write_text(json.dumps({"locales": scores}))
    assert table([tmp_path / "base.json", tmp_path / "full.json"]) == [
        "| locale | base | full |",
        "|---|---|---|",
        "| nl-NL | 90.0 | 45.0 (-50%) |",
        "| de-DE | 80.0 | 80.4 (+1%) |",
    ]
