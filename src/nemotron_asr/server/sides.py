"""What goes on side by side: who listens to a client, and who tells it what was heard."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


async def side_by_side(listening: Coroutine[Any, Any, None], telling: Coroutine[Any, Any, None]) -> None:
    """Take in what the client sends while telling it what was heard; over when all is told or either fails.

    Args:
        listening: from the client into the conversation.
        telling: from the conversation to the client.
    """
    tasks = [asyncio.ensure_future(listening), asyncio.ensure_future(telling)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done() and not tasks[0].exception():
            await asyncio.wait(tasks)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of tasks; the first that fails ends the others and the context, and raises what it raised."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
