"""Writes the final manifests: cleaned text, paths that resolve, nothing that the tokenizer cannot write.

    python -m recipes.tiny.manifests --tokenizer WORK/tokenizer.model --speech DATA/speech --synthetic WORK/synthetic \
        --output WORK

Writes `human.jsonl`, `synthetic.jsonl` and `dev.jsonl` and prints the hours per locale. Synthetic speech of a sentence
that is measured (in `dev.jsonl` or `eval.jsonl`) is left out; of a number alone (`--counting`), if `dev.jsonl` says it.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece

from recipes.tiny.text import clean

Entry = dict[str, Any]

# Some Italian transcripts of Asterisk have lost their accented letters on the way.
LOST_LETTERS = {" ? ": " è ", "pu? ": "può ", "sar? ": "sarà ", "cos? ": "così "}


def read(manifest: Path) -> list[Entry]:
    """Returns the entries of a manifest with absolute paths and cleaned text; it may have been cleaned before."""
    folder, entries = manifest.parent.resolve(), []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        text = clean(restore_letters(entry["text"]) if entry["source"] == "asterisk" else entry["text"])
        entries.append({**entry, "audio_filepath": str(folder / entry["audio_filepath"]), "text": text})
    return entries


def restore_letters(text: str) -> str:
    """Returns `text` with the letters of `LOST_LETTERS` put back."""
    for lost, letters in LOST_LETTERS.items():
        text = text.replace(lost, letters)
    return text


def foreign_characters(text: str, tokenizer: sentencepiece.SentencePieceProcessor) -> list[str]:
    """Returns the characters of `text` that no piece of the vocabulary covers, or `["(empty)"]` if there is no text."""
    characters = [x for x in dict.fromkeys(text) if tokenizer.unk_id() in tokenizer.encode(x)]
    return characters if text else ["(empty)"]


def said(entry: Entry) -> tuple[str, str]:
    """Returns what is heard in a clip: its locale and its words, without case and punctuation."""
    return entry["target_lang"], " ".join(re.findall(r"[\w']+", entry["text"].lower()))


def unmeasured(entries: list[Entry], *measured: Path) -> list[Entry]:
    """Returns the `entries` that say nothing which is said in one of the manifests `measured`."""
    taken = {said(entry) for manifest in measured for entry in read(manifest)}
    kept = [entry for entry in entries if said(entry) not in taken]
    print(f"{len(entries) - len(kept)} say what is measured: left out")
    return kept


def write(
    manifest: Path, entries: Iterable[Entry], tokenizer: sentencepiece.SentencePieceProcessor, *, keep_all: bool
) -> None:
    """Writes `entries`, sorted, and prints what was kept and dropped; with `keep_all`, for measuring, nothing is."""
    kept, dropped, hours = [], Counter[str](), Counter[str]()
    for entry in sorted(entries, key=lambda x: (x["target_lang"], x["audio_filepath"])):
        foreign = foreign_characters(entry["text"], tokenizer)
        dropped.update(f"{entry['target_lang']} {''.join(foreign)}" for _ in foreign[:1])
        if keep_all or not foreign:
            kept.append(entry)
            hours[entry["target_lang"]] += entry["duration"] / 3600
    manifest.write_text("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in kept), encoding="utf-8")
    print(f"{manifest}: {len(kept)} clips, {sum(hours.values()):.2f} hours")
    print("  " + ", ".join(f"{locale} {value:.2f}" for locale, value in sorted(hours.items())))
    for reason, count in dropped.most_common():
        print(f"  {'unwritable' if keep_all else 'dropped'}: {count} of {reason}")


def main() -> None:
    """Reads the command line and writes the manifests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True, help="folder of train.jsonl, dev.jsonl and eval.jsonl")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="folders that synthesize.py has written")
    parser.add_argument("--counting", type=Path, nargs="*", default=[], help="such folders of nothing but numbers")
    parser.add_argument("--output", type=Path, required=True, help="folder for the three manifests")
    options = parser.parse_args()
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(options.tokenizer))
    synthetic, counting = (
        [x for folder in folders for part in sorted(folder.glob("*.jsonl")) for x in read(part)]
        for folders in (options.synthetic, options.counting)
    )
    write(options.output / "human.jsonl", read(options.speech / "train.jsonl"), tokenizer, keep_all=False)
    write(options.output / "dev.jsonl", read(options.speech / "dev.jsonl"), tokenizer, keep_all=True)
    if synthetic or counting:
        # Everybody has to know the numbers: only who says them is new in eval.
        trainable = unmeasured(synthetic, options.speech / "dev.jsonl", options.speech / "eval.jsonl")
        trainable += unmeasured(counting, options.speech / "dev.jsonl")
        write(options.output / "synthetic.jsonl", trainable, tokenizer, keep_all=False)


if __name__ == "__main__":
    main()
