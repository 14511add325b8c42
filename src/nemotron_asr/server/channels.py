"""A recording whose channels are heard one by one, side by side."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from starlette.requests import Request

from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.sides import tasks
from nemotron_asr.server.web import gone
from nemotron_asr.transcript import Transcript

Play = Callable[[Conversation], Coroutine[Any, Any, None]]


async def transcripts(conversations: Sequence[Conversation], play: Play, request: Request) -> list[Transcript]:
    """What each channel says, unless the client goes away.

    Args:
        conversations: one for each channel.
        play: has one hear its channel to the end.
        request: whose body has been taken in.

    Raises:
        Problem: what went wrong with the first that failed.
    """
    async with tasks() as group:
        leaving = group.create_task(gone(request))
        hearing = [group.create_task(_transcript(one, play)) for one in conversations]
        await asyncio.wait(hearing)
        leaving.cancel()
    return [task.result() for task in hearing]


async def _transcript(conversation: Conversation, play: Play) -> Transcript:
    async with conversation.beside(play(conversation)):
        return await conversation.transcript()
