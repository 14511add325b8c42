"""Trains the vocabulary of `tiny`: SentencePiece Unigram, with a language tag for each supported locale.

    python -m recipes.tiny.make_tokenizer --speech DATA/speech/train.jsonl --sentences DATA/text --output WORK/tokenizer

Writes `OUTPUT.model`.
"""

import argparse
import random
from pathlib import Path

import sentencepiece

from nemotron_asr.corpus.manifest import read_manifest
from recipes.tiny.text import ALPHABETS, LOCALES, clean, is_native

VOCABULARY_SIZE = 1024
TRANSCRIPT_WEIGHT = 3  # how often each human transcript counts: those are the words that the model is measured on
SENTENCES = 1500  # per locale, so that none outweighs the others
SENTENCES_WITH_RECORDINGS = 4000


def transcripts(manifest: Path) -> dict[str, list[str]]:
    """Returns the cleaned texts of a manifest by locale."""
    texts: dict[str, list[str]] = {}
    for clip in read_manifest(manifest):
        texts.setdefault(clip.language, []).append(clean(clip.text))
    return texts


def corpus(manifest: Path, sentences: Path, locales: list[str]) -> list[str]:
    """Returns the lines to train on: human transcripts and a balanced choice of sentences, in native letters only."""
    spoken = transcripts(manifest)
    lines: list[str] = []
    for locale in locales:
        written = [clean(x) for x in (sentences / f"{locale}.txt").read_text(encoding="utf-8").splitlines()]
        count = SENTENCES_WITH_RECORDINGS if locale in spoken else SENTENCES
        chosen = random.Random(locale).sample(written, min(count, len(written)))
        lines += [x for x in chosen + TRANSCRIPT_WEIGHT * spoken.get(locale, []) if is_native(x, locale)]
    return lines


def train(lines: list[str], output: Path) -> None:
    """Trains on `lines` and writes `output` with the suffix `.model`, set up as the released checkpoints' are."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(output),
        model_type="unigram",
        vocab_size=VOCABULARY_SIZE,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        byte_fallback=False,
        user_defined_symbols=[f"<{locale}>" for locale in LOCALES],
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        num_threads=1,
        minloglevel=1,
    )


def main() -> None:
    """Reads the command line, trains, and shows what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="manifest of the human recordings")
    parser.add_argument("--sentences", type=Path, required=True, help="folder of <locale>.txt, a sentence a line")
    parser.add_argument("--output", type=Path, required=True, help="where to write, without the suffix")
    parser.add_argument("--locales", nargs="+", choices=ALPHABETS, default=[x for x in ALPHABETS if x != "ja-JP"])
    options = parser.parse_args()
    lines = corpus(options.speech, options.sentences, options.locales)
    train(lines, options.output)
    model = sentencepiece.SentencePieceProcessor(model_file=f"{options.output}.model")
    pieces = sum(len(model.encode(line)) for line in lines)
    print(f"{options.output}.model: {len(model)} pieces, {sum(map(len, lines)) / pieces:.2f} characters a piece")


if __name__ == "__main__":
    main()
