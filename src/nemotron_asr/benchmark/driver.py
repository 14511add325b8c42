"""The engine without its threads: streams that step one batch after the other, for tests and benchmarks of tokens."""

from collections.abc import Iterator

from nemotron_asr.audio import Samples
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.scheduler import Ready, choose
from nemotron_asr.engine.stream import Stream, Target


class Driver:
    """Streams on the rows of one pool."""

    def __init__(self, runner: Runner, rows: int = 1) -> None:
        self.runner, self.pool, self.streams = runner, runner.pool(rows), list[Stream]()

    def open(self, prompt: int, chunk: int) -> Stream:
        """A new stream."""
        stream = Stream(self.pool.acquire(), Target(prompt, "auto"), chunk)
        self.streams.append(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        self.streams.remove(stream)
        self.pool.release(stream.row)

    def step(self) -> list[tuple[Stream, list[Emission]]]:
        """One step, or nothing when no stream can go on."""
        works = {stream: work for stream in self.streams if (work := stream.next_work())}
        for stream in [stream for stream, work in works.items() if not work.chunks]:
            stream.flushed(-1)
            return [(stream, [])]
        ready = [
            Ready(stream, work.chunk, work.chunks, progress=stream.t, flush=work.flush)
            for stream, work in works.items()
        ]
        batch = choose(ready, (), StepCost())
        if batch is None:
            return []
        parts = [Part.of(stream, works[stream], batch.frames) for stream in batch.streams]
        for stream in batch.streams:
            if not works[stream].flush:
                stream.advance(works[stream], batch.frames)
        said = [heard.said for heard in self.runner.step(self.pool, parts, batch.frames, batch.chunk)]
        for stream, emissions in zip(batch.streams, said, strict=True):
            if works[stream].flush:
                stream.flushed(emissions[-1].frame if emissions else -1)
        return list(zip(batch.streams, said, strict=True))

    def drain(self) -> Iterator[tuple[Stream, list[Emission]]]:
        """Step until nothing is left to do."""
        while said := self.step():
            yield from said


def whole(runner: Runner, audio: Samples, chunk: int, prompt: int = 0) -> list[Emission]:
    """What is said to a recording that is fed at once."""
    driver = Driver(runner)
    stream = driver.open(prompt, chunk)
    stream.feed(audio)
    stream.close()
    return [emission for _, emissions in driver.drain() for emission in emissions]


def tokens(emissions: list[Emission]) -> list[tuple[int, int]]:
    """Tokens and their frames."""
    return [(emission.token, emission.frame) for emission in emissions]
