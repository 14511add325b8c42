"""OpenAI's realtime protocol, through OpenAI's own client."""

import asyncio
import base64
from contextlib import suppress
from typing import Any

import numpy as np
import openai
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosedError

from nemotron_asr.events import Final, Segment, SpeechEnded
from nemotron_asr.server.openai_session import Session
from nemotron_asr.transcript import Transcript
from tests.server.conftest import Running
from tests.server.contract import RATE, Contract, Request, Told

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def client(server: Running, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{server.http}/v1", max_retries=0)


def wanted(rate: int = RATE, turn_detection: Any = None, **transcription: Any) -> Session:
    sound = {
        "format": {"type": "audio/pcm", "rate": rate},
        "transcription": {"model": "gpt-4o-transcribe", **transcription},
        "turn_detection": turn_detection,
    }
    return {"type": "transcription", "audio": {"input": sound}}


async def append(connection: Any, data: bytes) -> None:
    await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())


async def send(connection: Any, request: Request) -> None:
    for data, finalize in request.packets():
        await append(connection, data)
        await asyncio.sleep(request.wait(data))
        if finalize:
            await connection.input_audio_buffer.commit()
    if request.hang_up:
        connection._connection.transport.abort()
    else:
        await connection.input_audio_buffer.commit()


async def talk(server: Running, request: Request, session: Session) -> list[Any]:
    """What is told until as many turns are completed as the request commits."""
    commits = 1 + (request.finalize_at is not None)
    events = []
    async with client(server) as connected, connected.realtime.connect(
        extra_query={"intent": "transcription"}
    ) as connection:  # fmt: skip
        await connection.session.update(session=session)
        sending = asyncio.create_task(send(connection, request))
        with suppress(ConnectionClosedError):  # of a client that hangs up
            async for event in connection:
                events.append(event)
                commits -= event.type == f"{TRANSCRIPTION}.completed"
                if not commits:
                    break
        await sending
    return events


def told(event: Any) -> Told:
    if event.type == f"{TRANSCRIPTION}.delta":
        return Told("partial", event.delta)
    return Told("final", event.transcript, (), event.languages[0].code if event.languages else None)


def turns_of(server: Running, samples: NDArray[np.int16], cuts: list[int], **options: Any) -> Transcript:
    """What the engine makes of it, one segment for each turn that a commit or silence ends."""
    session = server.recognizer.engine.open(**options)
    events = []
    for begin, end in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        session.feed(samples[begin:end])
        session.finalize().result()
        events += [*session.take(), None]
    session.close()
    turns, finals = list[Segment](), list[Segment]()
    for event in events:
        if isinstance(event, Final):
            finals.append(event.segment)
        elif finals and (event is None or (options["endpointing_ms"] and isinstance(event, SpeechEnded))):
            text = Transcript(0, None, tuple(finals)).text
            turns.append(Segment(0, 0, text, next((one.language for one in finals if one.language), None), 1, ()))
            finals = []
    return Transcript(0, None, tuple(turns))


class TestCommits(Contract):
    """The client ends the turns."""

    whole_partials = answers = times = False

    def heard(self, server: Running, samples: NDArray[np.int16], language: str = "auto") -> Transcript:
        return turns_of(server, samples, [], language=language, endpointing_ms=None)

    def heard_in_two(self, server: Running, samples: NDArray[np.int16], middle: int) -> tuple[int, Transcript]:
        return 1, turns_of(server, samples, [middle], endpointing_ms=None)

    def converse(self, server: Running, request: Request) -> list[Told]:
        session = wanted() if request.language == "auto" else wanted(language=request.language)
        events = asyncio.run(talk(server, request, session))
        kinds = {f"{TRANSCRIPTION}.completed"} | ({f"{TRANSCRIPTION}.delta"} if request.interim else set())
        return [told(event) for event in events if event.type in kinds]
