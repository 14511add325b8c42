"""Lists of likely phrases are compiled in threads: a long one takes seconds, in which other streams go on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from nemotron_asr.decoding.boosting import Boost, boost_tree
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.tokenizer import Tokenizer

LONG = 100
"""Phrases from which on a list waits for other long ones, so that short ones need not."""


class Phrases:
    """Compiles lists, one after the other; the engine finds them ready.

    Args:
        most: phrases that a list may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._short, self._long = (ThreadPoolExecutor(1, thread_name_prefix="phrases") for _ in range(2))

    async def prepare(self, boost: Boost, tokenizer: Tokenizer) -> None:
        """Compile a list, unless it is among the last ones.

        Raises:
            Problem: it has too many phrases.
            OptionError: a phrase or its weight is not possible.
        """
        if len(boost) > self._most:
            message = f"{len(boost)} phrases are too many to boost; the limit is {self._most}"
            raise Problem(Kind.TOO_LARGE, message, "boost")
        if boost:
            lane = self._long if len(boost) >= LONG else self._short
            await asyncio.get_running_loop().run_in_executor(lane, boost_tree, boost, tokenizer)

    def close(self) -> None:
        """Begin no other list."""
        for lane in (self._short, self._long):
            lane.shutdown(wait=False, cancel_futures=True)
