"""Greedy search against beams, with and without a language model: word errors and time, as a Markdown table.

    python -m benchmarks.beam --manifest DATA/speech/dev.jsonl --language de-DE --width 2 --width 4 --width 8
    python -m benchmarks.beam --manifest DATA/speech/dev.jsonl --language de-DE --width 4 --arpa de.arpa

The encoder hears every clip once; what is timed is the search alone, 16 clips at a time.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nemotron_asr import audio
from nemotron_asr.config import FRAME_SECONDS, HOP, chunk_frames
from nemotron_asr.corpus.manifest import Clip, read_manifest
from nemotron_asr.decoding.beam import Beam, beam, initial_beam
from nemotron_asr.decoding.fusion import Fusion
from nemotron_asr.decoding.greedy import Emission, greedy, initial_state
from nemotron_asr.decoding.ngram import NGram
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.settings import LM_WEIGHT, WORD_BONUS
from nemotron_asr.features import mel_frames, window_samples, window_start
from nemotron_asr.languages import TAG
from nemotron_asr.model import encoder_frames
from nemotron_asr.recognizer import load
from nemotron_asr.training.validation import Hypothesis, score

ROWS = 16

Search = Callable[[Tensor, Tensor], list[list[Emission]]]


@torch.inference_mode()
def heard(runner: Runner, clip: Clip, chunk: int) -> Tensor:
    """(T, d_model) the encoder's frames of a clip, the language left to the model."""
    samples = torch.from_numpy(audio.load(str(clip.path)))
    valid = encoder_frames(mel_frames(len(samples)))
    frames = -(-valid // chunk) * chunk
    start = window_start(0)
    window = torch.zeros(window_samples(frames))
    window[-start : len(samples) - start] = samples[: len(window) + start]
    mel = runner.log_mel(window[None], torch.tensor([start]), torch.tensor([len(samples)]))
    model, end = runner.model, torch.tensor([len(samples) // HOP])
    encoded, _ = model.encoder(mel, end, model.encoder.initial_state(1), chunk)
    fused: Tensor = model.prompt(encoded, torch.tensor([model.config.default_prompt]))
    return fused[0, :valid]


def searches(runner: Runner, widths: Iterable[int], fusion: Fusion | None) -> dict[str, Search]:
    """Greedy search and beams, by name."""
    transducer = runner.model.transducer

    def most_probable(frames: Tensor, valid: Tensor) -> list[list[Emission]]:
        return greedy(transducer, frames, valid, initial_state(transducer, len(frames)))[0]

    def of(width: int, fusion: Fusion | None) -> Search:
        def search(frames: Tensor, valid: Tensor) -> list[list[Emission]]:
            rows = len(frames)
            state = initial_beam(transducer, rows, Beam(width, fusion))
            return beam(transducer, frames, valid, state, ends=torch.ones(rows, dtype=torch.bool))[0]

        return search

    beams = {f"beam {width}": of(width, None) for width in widths}
    fused = {f"beam {width}, language model": of(width, fusion) for width in widths} if fusion else {}
    return {"greedy": most_probable, **beams, **fused}


@torch.inference_mode()
def measured(search: Search, frames: Sequence[Tensor]) -> tuple[list[list[Emission]], float]:
    """What was said in every clip, and the processor's seconds that took."""
    began, said = time.process_time(), []
    for start in range(0, len(frames), ROWS):
        rows = list(frames[start : start + ROWS])
        said += search(pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows]))
    return said, time.process_time() - began


def main() -> None:
    """Reads the command line, listens, searches, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--language", help="only clips of this locale")
    parser.add_argument("--clips", type=int, help="only so many clips")
    parser.add_argument("--latency", type=int, default=1120)
    parser.add_argument("--width", type=int, action="append")
    parser.add_argument("--arpa", type=Path, help="a language model")
    parser.add_argument("--weight", type=float, default=LM_WEIGHT)
    parser.add_argument("--bonus", type=float, default=LM_WEIGHT * WORD_BONUS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognizer = load(options.model, dtype="float32")
    runner, tokenizer = recognizer.runner, recognizer.tokenizer
    clips = [clip for clip in read_manifest(options.manifest) if options.language in {None, clip.language}]
    clips = sorted(clips, key=lambda clip: clip.duration)[:: max(1, len(clips) // (options.clips or len(clips)))]
    frames = [heard(runner, clip, chunk_frames(options.latency)) for clip in clips]
    seconds = sum(map(len, frames)) * FRAME_SECONDS
    fusion = Fusion(NGram(options.arpa), tokenizer, options.weight, options.bonus) if options.arpa else None
    print(f"{len(clips)} clips, {seconds:.0f} s\n\n| search | WER | seconds per minute of audio |\n|---|---|---|")
    for name, search in searches(runner, options.width or (2, 4, 8), fusion).items():
        said, took = measured(search, frames)
        texts = [TAG.sub(" ", tokenizer.decode([e.token for e in emissions])) for emissions in said]
        wer = score([Hypothesis(c.language, c.text, t, "") for c, t in zip(clips, texts, strict=True)]).wer
        print(f"| {name} | {wer:.1%} | {60 * took / seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
