"""Takes 1,000 human sentences of one language, others to validate on, and clips of other languages to repeat.

    python -m recipes.finetune.choose --data WORK --locale nl-NL --output WORK/proof

Reads the manifests that `recipes.tiny.manifests` writes. Writes `human.jsonl` and `validation.jsonl`; of other
languages `replay.jsonl`, and of clips that are not repeated `validation-others.jsonl` and, to see what is forgotten,
`others.jsonl`.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

from recipes.tiny.manifests import Entry, read


def choose(entries: Sequence[Entry], count: int, others: int, seed: int) -> tuple[list[Entry], list[Entry]]:
    """`count` clips, and `others` more that say none of their sentences.

    Raises:
        ValueError: there are not so many.
    """
    shuffled = random.Random(seed).sample(entries, len(entries))
    chosen = shuffled[:count]
    said = {entry["text"] for entry in chosen}
    rest = [entry for entry in shuffled[count:] if entry["text"] not in said][:others]
    if len(chosen) < count or len(rest) < others:
        raise ValueError(f"{len(entries)} clips are too few for {count} to train on and {others} others")
    return chosen, rest


def write(entries: Sequence[Entry], manifest: Path) -> None:
    """Writes a manifest and prints what is in it."""
    manifest.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")
    minutes = sum(entry["duration"] for entry in entries) / 60
    print(f"{manifest.name}: {len(entries)} clips, {minutes:.0f} minutes")


def main() -> None:
    """Reads the command line and chooses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of human.jsonl and synthetic*.jsonl")
    parser.add_argument("--locale", required=True)
    parser.add_argument("--count", type=int, default=1000, help="sentences to train on")
    parser.add_argument("--validation", type=int, default=60, help="sentences to choose the best weights by")
    parser.add_argument("--others", type=int, default=400, help="clips of other languages that are not repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    human = [entry for entry in read(options.data / "human.jsonl") if entry["target_lang"] == options.locale]
    chosen, validation = choose(human, options.count, options.validation, options.seed)
    synthetic = [entry for manifest in sorted(options.data.glob("synthetic*.jsonl")) for entry in read(manifest)]
    options.output.mkdir(parents=True, exist_ok=True)
    write(chosen, options.output / "human.jsonl")
    write(validation, options.output / "validation.jsonl")
    foreign = [entry for entry in synthetic if entry["target_lang"] != options.locale]
    replay, others = choose(foreign, len(foreign) - 3 * options.others, options.others, options.seed)
    write(replay, options.output / "replay.jsonl")
    write(others[: options.validation], options.output / "validation-others.jsonl")
    write(others[options.validation :], options.output / "others.jsonl")


if __name__ == "__main__":
    main()
