"""What every protocol must do, whatever its messages look like.

An adapter's test says how its client speaks, and inherits the rest:

    class TestWyoming(Contract):
        interim = finalizes = False
        def converse(self, server, request): ...
"""

import io
import time
import wave
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from nemotron_asr.events import Final
from nemotron_asr.languages import AUTO
from nemotron_asr.transcript import Transcript, collect
from tests.conftest import Sample
from tests.server.conftest import Running

RATE = 16_000


@dataclass(frozen=True)
class Request:
    """What a client is to do.

    Attributes:
        samples: mono at 16 kHz, shape (samples,).
        packet: samples sent at once.
        interim: ask for partials.
        language: a locale, or "auto".
        finalize_at: samples after which the client asks for the words so far, and then goes on.
        pace: seconds of audio sent per second; 0: as fast as can be.
        hang_up: go away, without a word of farewell, when everything is sent.
    """

    samples: NDArray[np.int16]
    packet: int = 1600
    interim: bool = True
    language: str = "auto"
    finalize_at: int | None = None
    pace: float = 0.0
    hang_up: bool = False

    def packets(self) -> list[tuple[bytes, bool]]:
        """16-bit little-endian bytes to be sent, and whether to ask for the words so far behind them."""
        cuts = {*range(0, len(self.samples), self.packet), len(self.samples)} | {self.finalize_at or 0}
        return [(self.samples[a:b].astype("<i2").tobytes(), b == self.finalize_at) for a, b in pairwise(sorted(cuts))]

    def wait(self, data: bytes) -> float:
        """Seconds to wait behind a packet."""
        return len(data) / 2 / RATE / self.pace if self.pace else 0.0


@dataclass(frozen=True)
class Told:
    """What the client was told.

    Attributes:
        kind: a partial; a final; or that a finalize was answered, where the protocol says so.
        words: word, start and end in seconds; none where the protocol has none.
    """

    kind: Literal["partial", "final", "finalized"]
    text: str = ""
    words: tuple[tuple[str, float, float], ...] = ()
    language: str | None = None


class Contract(ABC):
    """The suite.

    Attributes:
        interim: the protocol can tell partials.
        whole_partials: a partial is the whole segment so far, not only what is new.
        finalizes: its clients can ask for the words so far.
        answers: it says when a finalize was answered, if nothing was said, too.
        times: its finals have words with times.
        tells_language, takes_language: as they say.
        latency_ms: at which the adapter's client listens.
    """

    interim = whole_partials = finalizes = answers = times = tells_language = takes_language = True
    latency_ms = 320

    @abstractmethod
    def converse(self, server: Running, request: Request) -> list[Told]:
        """Send a recording as the request says, with the protocol's real client; return what was told, in order."""

    def heard(self, server: Running, samples: NDArray[np.int16], language: str = "auto") -> Transcript:
        """What the model makes of it without a server."""
        return server.recognizer.transcribe((samples, RATE), latency_ms=self.latency_ms, language=language)

    def heard_in_two(self, server: Running, samples: NDArray[np.int16], middle: int) -> tuple[int, Transcript]:
        """What the engine makes of it when it is asked for the words so far; how many segments these are, and all."""
        session = server.recognizer.engine.open(latency_ms=self.latency_ms)
        session.feed(samples[:middle])
        session.finalize().result()
        so_far = session.take()
        session.feed(samples[middle:])
        session.close()
        whole = collect([*so_far, *session], session.duration, session.detected, AUTO)
        return sum(isinstance(event, Final) for event in so_far), whole

    @pytest.mark.parametrize("packet", [320, 1111, 16_000])
    def test_words_are_those_of_the_recording(self, server: Running, speech: NDArray[np.int16], packet: int) -> None:
        told = self.converse(server, Request(speech, packet, interim=False))
        assert any(one.text for one in told)
        self.check(told, self.heard(server, speech))

    @pytest.mark.parametrize(("pace", "interim"), [(1.0, True), (1.0, False), (0.0, True)])
    def test_pace_and_partials_change_no_word(
        self, server: Running, speech: NDArray[np.int16], pace: float, interim: bool
    ) -> None:
        told = self.converse(server, Request(speech[: 2 * RATE], pace=pace, interim=interim and self.interim))
        self.check(told, self.heard(server, speech[: 2 * RATE]))

    def test_there_are_partials_if_they_are_wanted(self, server: Running, speech: NDArray[np.int16]) -> None:
        silent = self.converse(server, Request(speech, interim=False))
        assert {told.kind for told in silent} <= {"final", "finalized"}
        if self.interim:
            said = self.converse(server, Request(speech, pace=4.0))
            assert "partial" in {told.kind for told in said}
            assert said[-1].kind != "partial"

    def test_partials_grow_into_their_final(self, server: Running, speech: NDArray[np.int16]) -> None:
        if not self.interim:
            return
        text = ""
        for told in self.converse(server, Request(speech, pace=4.0)):
            if told.kind == "partial":
                assert not self.whole_partials or told.text.startswith(text.rstrip())
                text = told.text if self.whole_partials else text + told.text
            elif told.kind == "final":
                assert told.text.strip().startswith(text.strip())
                text = ""

    def test_finalize_brings_the_words_so_far(self, server: Running, speech: NDArray[np.int16]) -> None:
        if not self.finalizes:
            return
        middle = len(speech) // 2
        told = self.converse(server, Request(speech, interim=False, finalize_at=middle))
        so_far, whole = self.heard_in_two(server, speech, middle)
        self.check(told, whole)
        if self.answers:
            kinds = [one.kind for one in told]
            assert kinds.count("finalized") == 1
            assert kinds.index("finalized") == so_far > 0

    def test_the_language_asked_for(self, server: Running, speech: NDArray[np.int16]) -> None:
        if self.takes_language:
            told = self.converse(server, Request(speech, interim=False, language="de-DE"))
            self.check(told, self.heard(server, speech, "de-DE"))

    def test_silence_says_nothing(self, server: Running, silence: NDArray[np.int16]) -> None:
        told = self.converse(server, Request(silence, interim=self.interim))
        self.check(told, self.heard(server, silence))

    def test_streams_do_not_disturb_each_other(self, server: Running, samples: list[Sample]) -> None:
        """They speak all languages that the embedded model was made for, each its own."""
        recordings = [as_int16(sample.audio) for sample in samples]
        with ThreadPoolExecutor(len(samples)) as clients:
            answers = list(clients.map(lambda one: self.converse(server, Request(one, interim=False)), recordings))
        for told, recording in zip(answers, recordings, strict=True):
            self.check(told, self.heard(server, recording))

    def test_nothing_is_left_of_a_client_that_hangs_up(self, server: Running, speech: NDArray[np.int16]) -> None:
        self.converse(server, replace(Request(speech), hang_up=True))
        deadline, engine = time.monotonic() + 30, server.service.models.find(None).engine
        while (server.service.conversations or engine.statistics.streams) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not server.service.conversations
        assert not engine.statistics.streams

    def check(self, told: list[Told], transcript: Transcript) -> None:
        """The finals are the transcript's segments."""
        finals = [one for one in told if one.kind == "final" and one.text.strip()]
        assert [one.text.strip() for one in finals] == [segment.text for segment in transcript.segments]
        if self.times:
            assert [word for one in finals for word, _, _ in one.words] == [word.word for word in transcript.words]
            times = [pytest.approx((word.start, word.end), abs=0.002) for word in transcript.words]
            assert [(start, end) for one in finals for _, start, end in one.words] == times
        if self.tells_language:
            assert [one.language for one in finals] == [segment.language for segment in transcript.segments]


def as_wav(samples: NDArray[np.int16], channels: int = 1) -> bytes:
    """A WAV file of samples at 16 kHz, shape (samples,) or (samples, channels)."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return (samples * 32767).round().astype(np.int16)
