"""Conversations: the order of what is told, changes on the way, any format, and media that cannot be decoded."""

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from nemotron_asr.events import Final, Partial
from nemotron_asr.features import window_samples, window_start
from nemotron_asr.server.conversation import Conversation, Finalized, RequestedFinal, StreamEvent
from nemotron_asr.server.formats import AUTO, CONTAINER, AudioFormat, index_is_last
from nemotron_asr.server.media import Decoders
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.service import Service
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.sides import side_by_side
from nemotron_asr.transcript import Transcript
from tests.audio.media import late_video
from tests.conftest import Sample
from tests.near import leaves, near
from tests.server.contract import RATE, as_int16, as_wav


@pytest.fixture
async def service(random_model_folder: Path) -> AsyncIterator[Service]:
    service = Service(Settings(model=(f"random={random_model_folder}",), max_streams=8, max_audio_seconds=30))
    await service.start()
    yield service
    await service.close()


async def talk(service: Service, form: AudioFormat | None = None, **options: Any) -> Conversation:
    return await service.open(service.authenticate(None, "test"), "test", form or AudioFormat("s16le"), **options)


async def hear(service: Service, data: bytes, form: AudioFormat, packet: int = 4000, **options: Any) -> Transcript:
    """Feed bytes in packets while listening."""
    conversation = await talk(service, form, **options)

    async def feed() -> None:
        for start in range(0, len(data), packet):
            await conversation.feed(data[start : start + packet])
        await conversation.close()

    async with conversation, conversation.beside(feed()):
        return await conversation.transcript()


def heard(service: Service, source: Any, latency_ms: int = 320) -> Transcript:
    return service.models.find(None).recognizer.transcribe(source, latency_ms=latency_ms)


async def test_every_finalize_is_answered_in_order(service: Service, speech: NDArray[np.int16]) -> None:
    events: list[StreamEvent] = []
    async with await talk(service) as conversation:
        await conversation.feed(speech[:24_000].tobytes())
        for _ in range(3):
            await conversation.finalize()
        await conversation.feed(speech[24_000:].tobytes())
        await conversation.finalize()
        await conversation.close()
        events += [event async for event in conversation if not isinstance(event, Partial)]
    answers = [event for event in events if isinstance(event, Finalized)]
    requested = [event.segment for event in events if isinstance(event, RequestedFinal)]
    assert len(answers) == 4
    assert answers[0].segment is not None
    assert answers[1].segment is answers[2].segment is None
    assert [answer.segment for answer in answers if answer.segment] == requested
    assert events.index(answers[0]) > next(i for i, event in enumerate(events) if isinstance(event, RequestedFinal))


@pytest.mark.parametrize(("latency_ms", "chunk"), [(80, 1), (320, 4)])
async def test_packets_wait_for_each_other_but_no_chunk_does(
    service: Service, speech: NDArray[np.int16], latency_ms: int, chunk: int
) -> None:
    engine, fed = service.models.find(None).engine, 0
    async with await talk(service, latency_ms=latency_ms) as conversation, asyncio.timeout(30):
        for chunks in range(1, 6):
            whole = window_start(0) + window_samples(chunks * chunk)
            for end in [*range(fed + 320, whole, 320), whole]:
                await conversation.feed(speech[fed:end].tobytes())
                fed = end
                assert conversation.duration == round(fed / RATE, 3)
            while engine.statistics.chunks < chunks:  # noqa: ASYNC110 - nobody tells when a chunk without words is done
                await asyncio.sleep(0.01)


async def test_finalize_counts_packets_that_wait(service: Service, speech: NDArray[np.int16]) -> None:
    engine, asked = service.models.find(None).engine, 24_000 + 320
    session = engine.open(latency_ms=560)
    session.feed(speech[:asked])
    expected = await session.finalize()
    session.abort()
    async with await talk(service, latency_ms=560) as conversation:
        for start in range(0, asked, 320):
            await conversation.feed(speech[start : start + 320].tobytes())
        await conversation.finalize()
        await conversation.feed(speech[asked : asked + 320].tobytes())
        answer = await anext(event async for event in conversation if isinstance(event, Finalized))
    assert leaves(answer.segment) == near(expected)


async def test_finalize_is_answered_while_somebody_waits(service: Service) -> None:
    async with await talk(service) as conversation:
        waiting = asyncio.ensure_future(anext(conversation))
        await asyncio.sleep(0.05)
        await conversation.finalize()
        assert await asyncio.wait_for(waiting, 10) == Finalized(0.0, None)


async def test_changes_go_where_the_session_goes(service: Service, speech: NDArray[np.int16]) -> None:
    engine, half = service.models.find(None).engine, len(speech) // 2
    with engine.open(latency_ms=320) as session:
        session.feed(speech[:half])
        session.set_latency(80)
        session.set_language("de")
        session.set_boost(["light:3"])
        session.feed(speech[half:])
    expected = [event.segment.text for event in session if isinstance(event, Final)]
    async with await talk(service) as conversation:
        await conversation.feed(speech[:half].tobytes())
        await conversation.change(latency_ms=80, language="de", boost=["light:3"])
        await conversation.feed(speech[half:].tobytes())
        await conversation.close()
        assert [segment.text for segment in (await conversation.transcript()).segments] == expected


async def test_a_change_that_is_refused_changes_nothing(service: Service, speech: NDArray[np.int16]) -> None:
    async with await talk(service) as conversation:
        for wrong in ({"language": "xx"}, {"latency_ms": 81}, {"endpointing_ms": 80}, {"boost": ["x:99"]}):
            with pytest.raises(Problem) as refused:
                await conversation.change(**wrong)
            assert refused.value.kind is Kind.INVALID
        await conversation.feed(speech.tobytes())
        await conversation.close()
        assert (await conversation.transcript()).text == heard(service, (speech, RATE)).text


@pytest.mark.parametrize("packet", [1, 999, 100_000])
async def test_a_wav_file_as_a_stream(service: Service, samples: list[Sample], packet: int) -> None:
    samples16 = as_int16(samples[0].audio[:32_000])
    data = as_wav(samples16) + b"LIST\4\0\0\0junk"  # what follows the samples is not heard
    transcript = await hear(service, data, AudioFormat(), packet)
    assert leaves(transcript.segments) == near(heard(service, (samples16, RATE)).segments)


async def test_bytes_that_are_no_file_are_samples(service: Service, speech: NDArray[np.int16]) -> None:
    transcript = await hear(service, speech.tobytes(), AudioFormat("auto"))
    assert leaves(transcript.segments) == near(heard(service, (speech, RATE)).segments)


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
async def test_other_rates_and_channels(service: Service, speech: NDArray[np.int16], rate: int) -> None:
    stereo = np.stack([speech, np.zeros_like(speech)], axis=1)
    transcript = await hear(service, stereo.tobytes(), AudioFormat("s16le", rate, 2, 0), 4001)
    assert leaves(transcript.segments) == near(heard(service, (speech, rate)).segments)


async def test_a_compressed_stream(service: Service, samples: list[Sample]) -> None:
    with open(samples[0].path, "rb") as file:  # noqa: ASYNC230, PTH123 - a small one
        transcript = await hear(service, file.read(), AudioFormat(), 777)
    whole = heard(service, samples[0].path)
    assert transcript.text == whole.text
    assert [(word.start, word.end) for word in transcript.words] == [(word.start, word.end) for word in whole.words]


@pytest.mark.parametrize("recording", [True, False])
async def test_a_recording_whose_sound_begins_late_is_heard_when_a_player_plays_it(
    service: Service, samples: list[Sample], recording: bool
) -> None:
    """A live stream is not: its time begins with what is heard first."""
    film = late_video(samples[0].audio, 16000, "matroska", "pcm_s16le", (2.0, 2.0))
    transcript = await hear(service, film, AudioFormat(), recording=recording)
    plain = heard(service, samples[0].path)
    assert transcript.duration == pytest.approx(plain.duration + 2 * recording, abs=0.1)


@pytest.mark.parametrize(("codec", "behind"), [("libopus", 0.2), ("aac", 0.2), ("mp3", 0.5), ("flac", 1.0)])
async def test_a_compressed_stream_is_heard_before_it_is_finalized(
    service: Service, samples: list[Sample], codec: str, behind: float
) -> None:
    """But for what a decoder holds back until it has seen what follows."""
    file = encoded(samples[0].audio, codec)
    conversation = await talk(service, AudioFormat(CONTAINER))
    async with conversation:
        for part in (1, 2, 3):
            for start in range(len(file) * (part - 1) // 3, end := len(file) * part // 3, 2000):
                await conversation.feed(file[start : min(start + 2000, end)])
            await conversation.finalize()
            told = [event async for event in until(conversation, Finalized)]
            assert part / 3 * len(samples[0].audio) / RATE - told[-1].time < behind
        await conversation.close()
        assert (await conversation.transcript()).duration == pytest.approx(len(samples[0].audio) / RATE, abs=0.15)


async def test_a_finalize_is_told_behind_the_audio_that_came_before_it(service: Service) -> None:
    conversation = await talk(service)
    async with conversation:
        for seconds in (1, 2):
            await conversation.feed(bytes(2 * RATE * seconds))
            await conversation.finalize()
        await conversation.close()
        assert [event.time for event in [each async for each in conversation] if isinstance(event, Finalized)] == [1, 3]


async def until(conversation: Conversation, kind: type[StreamEvent]) -> AsyncIterator[StreamEvent]:
    async for event in conversation:
        yield event
        if isinstance(event, kind):
            return


def encoded(audio: np.ndarray, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format={"libopus": "webm", "aac": "adts"}.get(codec, codec)) as container:
        stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(as_int16(audio)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture(scope="module")
def m4a(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 25 s, with its index at its end, as encoders write it: more than FFmpeg keeps of what cannot be read twice."""
    path = tmp_path_factory.mktemp("files") / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE)
        speech = np.resize(as_int16(samples[0].audio), 25 * RATE)
        frame = av.AudioFrame.from_ndarray(speech[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_file_whose_index_is_at_its_end(service: Service, m4a: Path) -> None:
    conversation = await talk(service, AudioFormat(CONTAINER), recording=True)
    async with conversation, conversation.beside(conversation.play(str(m4a))):
        assert leaves((await conversation.transcript()).segments) == near(heard(service, m4a).segments)


@pytest.mark.parametrize(("encoding", "packet"), [(AUTO, 13), (CONTAINER, 40_000)])
async def test_bytes_of_such_a_file(
    service: Service, m4a: Path, encoding: str, packet: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    transcript = await hear(service, content(m4a), AudioFormat(encoding), packet)
    assert leaves(transcript.segments) == near(heard(service, m4a).segments)
    assert not names(tmp_path)


async def test_such_a_file_may_be_as_long_as_an_upload(random_model_folder: Path, m4a: Path) -> None:
    service = Service(Settings(model=(f"random={random_model_folder}",), max_streams=8, max_upload_bytes=50_000))
    await service.start()
    with pytest.raises(Problem, match="more than 50000 bytes") as problem:
        await hear(service, content(m4a), AudioFormat())
    assert problem.value.kind is Kind.TOO_LARGE
    await service.close()


async def test_a_disk_without_room_for_such_a_file(
    service: Service, m4a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(Problem, match="cannot be kept while it is heard: No such file") as problem:
        await hear(service, content(m4a), AudioFormat())
    assert problem.value.kind is Kind.UNAVAILABLE


def box(kind: bytes, size: int, length: int = 0) -> bytes:
    return size.to_bytes(4) + kind + bytes(length)


@pytest.mark.parametrize(
    ("head", "last"),
    [
        (box(b"ftyp", 16, 8) + box(b"moov", 1000), False),
        (box(b"ftyp", 16, 8) + box(b"free", 8) + box(b"mdat", 1000), True),
        (box(b"ftyp", 16, 8) + box(b"mdat", 1), True),  # its size in 64 bits follows
        (box(b"ftyp", 16, 8) + box(b"free", 1000), None),
        (box(b"ftyp", 16, 8), None),
        (box(b"ftyp", 0, 8) + box(b"mdat", 1000), False),  # damaged
        (b"OggS" + bytes(100), False),
        (b"", False),
    ],
)
def test_where_the_index_of_an_mp4_is(head: bytes, last: bool | None) -> None:
    assert index_is_last(head) is last


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"OggS" + bytes(5000), AudioFormat()),
        (b"not audio at all, but text", AudioFormat(CONTAINER)),
        (b"", AudioFormat(CONTAINER)),
        (b"RIFF\0\0\0\0WAVEfmt ", AudioFormat()),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", AudioFormat()),
        (np.full(400, np.nan, np.float32).tobytes(), AudioFormat("f32le")),
    ],
)
async def test_what_cannot_be_heard_is_a_problem(service: Service, data: bytes, form: AudioFormat) -> None:
    with pytest.raises(Problem) as problem:
        await hear(service, data, form)
    assert problem.value.kind is Kind.INVALID
    assert not service.conversations


async def test_media_that_decode_to_too_much_are_stopped(random_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(as_wav(np.zeros(40 * RATE, np.int16)))
    service = Service(Settings(model=(f"random={random_model_folder}",), max_streams=8, max_audio_seconds=30))
    await service.start()
    conversation = await talk(service, AudioFormat(CONTAINER), recording=True)
    with pytest.raises(Problem, match="longer than 30 s"):
        async with conversation, conversation.beside(conversation.play(str(path))):
            await conversation.transcript()
    await service.close()


async def test_a_bug_in_feeding_ends_the_conversation(service: Service) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    conversation = await talk(service)
    with pytest.raises((Problem, ZeroDivisionError)):
        async with conversation, conversation.beside(broken()):
            await conversation.transcript()
    assert not service.conversations


async def test_both_sides_end_with_either() -> None:
    ended: list[str] = []

    async def forever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def soon() -> None:
        ended.append("soon")

    async def wrong() -> None:
        raise Problem(Kind.INVALID, "wrong")

    await side_by_side(forever("listening"), soon())
    assert ended == ["soon", "listening"]
    with pytest.raises(Problem):
        await side_by_side(wrong(), forever("telling"))
    assert ended[-1] == "telling"


def test_memory_of_decoding_is_limited(samples: list[Sample]) -> None:
    async def decode() -> None:
        decoders = Decoders(1, 1, 60, 120, spare=0)  # too little even to begin
        async with decoders.decoding() as decoding:
            decoding.begin(samples[0].path)
            decoding.end()
            async for _ in decoding:
                pass

    with pytest.raises(Problem, match=r"too much time or memory|Cannot allocate memory"):
        asyncio.run(decode())


async def test_live_streams_take_no_room_from_recordings(samples: list[Sample]) -> None:
    """Who finds none of their own is refused; a recording waits for none of them."""
    decoders = Decoders(1, 1, 60, 1024, spare=0)
    async with decoders.decoding_live():
        with pytest.raises(Problem, match="1 live streams are being decoded, which is the limit"):
            async with decoders.decoding_live():
                pass
        async with decoders.decoding() as decoding:
            assert await decoding.count_channels(samples[0].path) == 1
    async with decoders.decoding_live():
        pass
