"""Speaks sentences with espeak-ng, with many voices, speeds and pitches; with flite and pico in some languages, too.

    python -m recipes.tiny.synthesize --sentences DATA/text --output WORK/synthetic
    python -m recipes.tiny.synthesize --sentences DATA/text --output WORK/synthetic-flite --engine flite --count 4000
    python -m recipes.tiny.synthesize --sentences DATA/text --output WORK/synthetic-pico --engine pico --count 4000

Writes `OUTPUT/<locale>/*.flac` (16 kHz mono) and `OUTPUT/<locale>.jsonl`, a manifest whose paths are relative to its
folder. What is already there is kept, so a run that was stopped goes on where it was.
"""

import argparse
import io
import json
import random
import subprocess
import wave
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from recipes.tiny.text import clean, is_native

SAMPLE_RATE = 16_000
SHORTEST, LONGEST = 0.4, 12.0  # seconds; outside lies a failure of the synthesizer
LONGEST_SENTENCE = 110  # characters, about nine seconds

VOICES = {
    "de-DE": "de",
    "en-US": "en-us",
    "nl-NL": "nl",
    "it-IT": "it",
    "ru-RU": "ru",
    "fr-FR": "fr-fr",
    "es-ES": "es",
    "pt-BR": "pt-br",
    "pl-PL": "pl",
    "sv-SE": "sv",
    "uk-UA": "uk",
    "tr-TR": "tr",
    "ja-JP": "ja",
}
"""espeak-ng's voice of each locale."""

COUNTS = {
    **dict.fromkeys(VOICES, 1200),
    **dict.fromkeys(("it-IT", "ru-RU"), 2500),
    **dict.fromkeys(("de-DE", "en-US", "nl-NL"), 7500),
}
"""Sentences to speak: most in the locales that also have human recordings."""

VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Alex", "Alicia", "Andrea"),
    *("Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario"),
    *("Michael", "Mike", "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david"),
    *("ed", "edward", "edward2", "grandma", "grandpa", "gustave", "iven", "iven2", "iven3", "john", "kaukovalta"),
    *("klatt", "klatt2", "klatt3", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul"),
    *("pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "steph2", "travis", "victor", "zac"),
)
"""espeak-ng's variants that sound like a person: no robots, whispers and monsters."""

FLITE_VOICES = ("awb", "kal16", "rms", "slt")
"""Flite's English voices: it puts together what people have said, so that they sound more like people."""

PICO_VOICES = {
    "de-DE": ("de-DE",),
    "en-US": ("en-US", "en-GB"),
    "it-IT": ("it-IT",),
    "fr-FR": ("fr-FR",),
    "es-ES": ("es-ES",),
}
"""SVOX Pico's voices, each learnt from one speaker."""

ENGINES: dict[str, Mapping[str, tuple[str, ...]]] = {
    "espeak-ng": dict.fromkeys(VOICES, VARIANTS),
    "flite": {"en-US": FLITE_VOICES},
    "pico": PICO_VOICES,
}
"""The voices of each program, by locale."""

MOST_VOICES = 4  # for one sentence, in a locale that has few, unless more are asked for


@dataclass(frozen=True)
class Utterance:
    """One sentence and the voice that is to speak it."""

    name: str
    text: str
    locale: str
    variant: str
    words_per_minute: int
    pitch: int  # 50 is the voice's own

    @property
    def engine(self) -> str:
        """The program that speaks it."""
        if self.variant in PICO_VOICES.get(self.locale, ()):
            return "pico"
        return "flite" if self.variant in FLITE_VOICES else "espeak-ng"

    @property
    def speaker(self) -> str:
        """The name of the synthetic voice."""
        if self.engine == "pico":
            return f"pico-{self.variant}"
        return f"{self.engine}-{VOICES[self.locale]}+{self.variant}"


def plan(
    sentences: Path, locale: str, count: int, voices: tuple[str, ...] = VARIANTS, most_voices: int = MOST_VOICES
) -> list[Utterance]:
    """Chooses up to `count` sentences of `locale` and a voice for each; the same choice every time.

    A locale with fewer sentences has them spoken again by other voices, up to `most_voices` for each.
    """
    lines = (clean(line) for line in (sentences / f"{locale}.txt").read_text(encoding="utf-8").splitlines())
    usable = [line for line in dict.fromkeys(lines) if len(line) <= LONGEST_SENTENCE and is_native(line, locale)]
    dice = random.Random(locale if voices is VARIANTS else f"{locale} {voices}")
    dice.shuffle(usable)
    return [
        Utterance(f"{index:05d}", text, locale, dice.choice(voices), dice.randint(120, 210), dice.randint(30, 70))
        for index, text in enumerate((usable * most_voices)[:count])
    ]


def speak(utterance: Utterance) -> NDArray[np.float32]:
    """Returns the audio of `utterance`, [samples] at 16 kHz.

    Raises:
        FileNotFoundError: if espeak-ng is not installed (for Japanese, mecab).
        ModuleNotFoundError: if pico is to speak and ttspico is not installed.
        subprocess.CalledProcessError: if it fails.
    """
    if utterance.engine == "pico":
        return _pico(utterance)
    text = _kana(utterance.text) if utterance.locale == "ja-JP" else utterance.text
    sound = run(_flite(utterance) if utterance.engine == "flite" else _espeak(utterance), text)
    with wave.open(io.BytesIO(sound)) as reader:
        rate = reader.getframerate()
    # Programs that write into a pipe do not know the length beforehand: the samples are whatever follows the header.
    samples = np.frombuffer(sound[44:], dtype="<i2").astype(np.float32) / 32768
    return np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), dtype=np.float32)


def _espeak(utterance: Utterance) -> list[str]:
    voice = f"{VOICES[utterance.locale]}+{utterance.variant}"
    speed, pitch = str(utterance.words_per_minute), str(utterance.pitch)
    return ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "--stdin", "--stdout"]


def _flite(utterance: Utterance) -> list[str]:
    stretch = 165 / utterance.words_per_minute
    voice = ["-voice", utterance.variant, "--setf", f"duration_stretch={stretch:.2f}"]
    return ["flite", *voice, "-t", utterance.text, "-o", "/dev/stdout"]


def _pico(utterance: Utterance) -> NDArray[np.float32]:
    import ttspico  # here: it has to be compiled, and only these voices need it

    engine = ttspico.TtsEngine(utterance.variant)
    engine.rate = round(100 * utterance.words_per_minute / 165)
    engine.pitch = utterance.pitch + 50
    return np.frombuffer(engine.speak(utterance.text), dtype="<i2").astype(np.float32) / np.float32(32768)


def _kana(text: str) -> str:
    """Returns Japanese `text` as it is pronounced, in katakana, since espeak-ng does not read kanji."""
    return run(["mecab", "-F", "%f[8]", "-U", "%m", "-E", "\\n"], text).decode()


def run(command: list[str], text: str) -> bytes:
    """What a program prints that reads `text`.

    Raises:
        FileNotFoundError: it is not installed.
        subprocess.CalledProcessError: it fails.
    """
    # S603: the commands are put together from this file's own tables; no shell reads the text.
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout  # noqa: S603 - no shell


def write_flac(path: Path, samples: NDArray[np.float32]) -> None:
    """Writes [samples] at 16 kHz as 16-bit FLAC."""
    pcm = (samples.clip(-1, 1) * 32767).astype(np.int16)
    with av.open(path, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def synthesize(utterance: Utterance, output: Path) -> str:
    """Speaks `utterance` into a file below `output`; returns its manifest line, empty if the speech is unusable."""
    samples = speak(utterance)
    duration = len(samples) / SAMPLE_RATE
    if not SHORTEST <= duration <= LONGEST:
        return ""
    audio = Path(utterance.locale, f"{utterance.name}.flac")
    write_flac(output / audio, samples)
    entry = {
        "audio_filepath": audio.as_posix(),
        "duration": round(duration, 3),
        "text": utterance.text,
        "target_lang": utterance.locale,
        "speaker": utterance.speaker,
        "source": utterance.engine,
        "licence": "CC0-1.0",
    }
    return json.dumps(entry, ensure_ascii=False) + "\n"


def synthesize_locale(utterances: list[Utterance], output: Path, manifest: Path, workers: int) -> None:
    """Speaks what `manifest` does not have yet, adding a line for each clip as soon as it is written."""
    lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    done = {Path(json.loads(line)["audio_filepath"]).stem for line in lines}
    missing = [utterance for utterance in utterances if utterance.name not in done]
    (output / manifest.stem).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(workers) as pool, manifest.open("a", encoding="utf-8") as file:
        for line in pool.map(lambda utterance: synthesize(utterance, output), missing):
            file.write(line)
            file.flush()
    print(f"{manifest}: {len(done)} clips were there, {len(missing)} spoken", flush=True)


def main() -> None:
    """Reads the command line and speaks every locale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True, help="folder of <locale>.txt, a sentence a line")
    parser.add_argument("--output", type=Path, required=True, help="folder for the audio and the manifests")
    parser.add_argument("--locales", nargs="+", choices=VOICES, default=[x for x in VOICES if x != "ja-JP"])
    parser.add_argument("--count", type=int, help="sentences per locale (default: see COUNTS)")
    parser.add_argument("--engine", choices=ENGINES, default="espeak-ng", help="speaks the languages that it can")
    parser.add_argument("--most-voices", type=int, default=MOST_VOICES, help="for one sentence, where there are few")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    voices = ENGINES[options.engine]
    for locale in (locale for locale in options.locales if locale in voices):
        utterances = plan(
            options.sentences, locale, options.count or COUNTS[locale], voices[locale], options.most_voices
        )
        synthesize_locale(utterances, options.output, options.output / f"{locale}.jsonl", options.workers)


if __name__ == "__main__":
    main()
