"""What a coroutine finds that awaits a promise."""

import asyncio

import pytest

from nemotron_asr.engine.promise import Promise


async def test_one_that_is_kept_takes_no_turn_of_the_event_loop() -> None:
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    assert await Promise.kept(7) == 7
    assert not turns


async def test_one_that_has_failed_or_was_cancelled_says_so() -> None:
    failed, cancelled = Promise[None](), Promise[None]()
    failed.fail(ValueError("no"))
    cancelled.cancel()
    with pytest.raises(ValueError, match="no"):
        await failed
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_one_that_is_kept_later_is_waited_for() -> None:
    promise = Promise[int]()
    asyncio.get_running_loop().call_soon(promise.keep, 3)
    assert await promise == 3
