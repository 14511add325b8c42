"""Counts words and writes an ARPA file: n-grams with Witten-Bell smoothing, enough to try a language model.

    python -m benchmarks.arpa DATA/text/de-DE.txt --without DATA/speech/dev.jsonl --output de.arpa

For a model in earnest take KenLM's `lmplz`, whose smoothing is better and which does not hold everything in memory.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from nemotron_asr.corpus.manifest import read_manifest
from nemotron_asr.decoding.ngram import UNKNOWN, spoken

Gram = tuple[str, ...]


def sentences(paths: Iterable[Path]) -> Iterable[list[str]]:
    """Every line as words between the marks of a sentence."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            if words := [word for part in line.split() if (word := spoken(part))]:
                yield ["<s>", *words, "</s>"]


def others(lines: Iterable[list[str]], manifest: Path) -> Iterable[list[str]]:
    """The sentences that no clip of a manifest says."""
    said = {tuple(filter(None, map(spoken, clip.text.split()))) for clip in read_manifest(manifest)}
    return (line for line in lines if tuple(line[1:-1]) not in said)


def counted(lines: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    """How often every n-gram occurs, for n from 1 to `order`; nothing is predicted to begin a sentence."""
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for line in lines:
        for end in range(2, len(line) + 1):
            for n in range(1, min(order, end) + 1):
                counts[n - 1][tuple(line[end - n : end])] += 1
    return counts


def smoothed(counts: Sequence[Counter[Gram]]) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """Probabilities of n-grams and weights of falling back from histories (Witten and Bell 1991)."""
    total: Counter[Gram] = Counter()
    kinds: Counter[Gram] = Counter()
    for grams in counts:
        for gram, count in grams.items():
            total[gram[:-1]] += count
            kinds[gram[:-1]] += 1
    back = {history: kinds[history] / (kinds[history] + total[history]) for history in total}
    words = len(counts[0])
    probability: dict[Gram, float] = defaultdict(lambda: 1 / (words + 1))
    probability[UNKNOWN,] = back[()] / (words + 1)
    for grams in counts:
        for gram, count in grams.items():
            history = gram[:-1]
            lower = probability[gram[1:]] if history else 1 / (words + 1)
            probability[gram] = count / (kinds[history] + total[history]) + back[history] * lower
    return dict(probability), back


def write(path: Path, lines: Iterable[Sequence[str]], order: int) -> None:
    """Write the model of some sentences."""
    probability, back = smoothed(counted(lines, order))
    levels = [{gram: p for gram, p in probability.items() if len(gram) == n} for n in range(1, order + 1)]
    levels[0]["<s>",] = 1e-99
    with path.open("w", encoding="utf-8") as file:
        file.write("\\data\\\n" + "".join(f"ngram {n}={len(level)}\n" for n, level in enumerate(levels, 1)))
        for n, level in enumerate(levels, 1):
            file.write(f"\n\\{n}-grams:\n")
            for gram, p in level.items():
                weight = f"\t{math.log10(back[gram]):.5f}" if gram in back and n < order else ""
                file.write(f"{math.log10(p):.5f}\t{' '.join(gram)}{weight}\n")
        file.write("\n\\end\\\n")


def main() -> None:
    """Reads the command line, counts, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--without", type=Path, help="leave out the sentences of a manifest, which will be measured")
    options = parser.parse_args()
    lines = sentences(options.texts)
    write(options.output, others(lines, options.without) if options.without else lines, options.order)


if __name__ == "__main__":
    main()
