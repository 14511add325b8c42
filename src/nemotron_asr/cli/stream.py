"""`nemotron-asr stream`: live captions of a file, of standard input or of a microphone."""

from typing import TYPE_CHECKING

import click

from nemotron_asr.cli.captions import FORMATS, captions
from nemotron_asr.cli.inputs import check_name
from nemotron_asr.cli.options import Format, Listening, listening_options
from nemotron_asr.cli.running import DONE, check_output
from nemotron_asr.options import LIVE_MS

if TYPE_CHECKING:
    from nemotron_asr.cli.live import Packets


@click.command()
@click.argument("audio", required=False)
@click.option("--microphone", is_flag=True, help="Listen to the default microphone until Ctrl-C.")
@click.option("--format", "form", type=Format(FORMATS), default="text", show_default=True, help="Format.")
@listening_options(latency_ms=LIVE_MS)
def stream(audio: str | None, microphone: bool, form: str, listening: Listening) -> int:
    """Caption AUDIO as it is heard: a file, or - for raw 16-bit little-endian mono samples at 16 kHz from stdin.

    On a terminal the words grow in place; on a pipe every line is final. jsonl prints all events, one per line.
    """
    if microphone == (audio is not None):
        raise click.UsageError("give one of AUDIO, - and --microphone")
    if audio is not None:
        check_name(audio)
    check_output()
    from nemotron_asr.cli.live import UntilInterrupted

    packets = _packets(audio, listening.options["latency_ms"] / 1000)
    source = UntilInterrupted(packets.samples)
    with listening.load().stream(**listening.options, sample_rate=packets.rate) as live, captions(form) as show:
        for samples in source:
            for event in live.feed(samples):
                show(event)
        for event in live.finish():
            show(event)
    if source.interrupted and not microphone:
        raise KeyboardInterrupt
    return DONE


def _packets(audio: str | None, seconds: float) -> "Packets":
    from nemotron_asr.cli.live import from_file, from_stdin

    if audio is None:
        from nemotron_asr.cli.microphone import from_microphone

        return from_microphone(seconds)
    return from_stdin(seconds) if audio == "-" else from_file(audio, seconds)
