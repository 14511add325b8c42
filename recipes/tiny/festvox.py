"""Makes a manifest of the recordings of a voice of Festival: an hour and forty minutes of Russian, by a man.

    apt-get install festvox-ru
    python -m recipes.tiny.festvox --output WORK/human-festvox.jsonl

The voice is Nickolay V. Shmyrev's (2005; to use, copy, modify and distribute without restriction, with his notice), the
text from stories by Alexander Grin, who died in 1932.
"""

import argparse
import json
import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipes.tiny.text import clean, is_native

VOICE = Path("/usr/share/festival/voices/russian/msu_ru_nsh_clunits")
LOCALE = "ru-RU"
ENTRY = re.compile(r'^\( (\w+) "(.*)" \)$', re.MULTILINE)
STRESS = "+"  # before a vowel, to help the voice


def entries(voice: Path) -> Iterator[dict[str, Any]]:
    """The lines of a manifest: all recordings whose texts are Russian throughout."""
    for name, text in ENTRY.findall((voice / "etc" / "txt.done.data").read_text(encoding="utf-8")):
        said, audio = clean(text.replace(STRESS, "")), voice / "wav" / f"{name}.wav"
        if not is_native(said, LOCALE):
            continue
        with wave.open(str(audio)) as reader:
            seconds = reader.getnframes() / reader.getframerate()
        yield {
            "audio_filepath": str(audio),
            "duration": round(seconds, 3),
            "text": said,
            "target_lang": LOCALE,
            "speaker": "msu_ru_nsh",
            "source": "festvox-ru",
            "licence": "BSD-like",
        }


def main() -> None:
    """Reads the command line and writes the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", type=Path, default=VOICE)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries(options.voice)]
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
