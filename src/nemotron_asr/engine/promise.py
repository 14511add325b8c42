"""A result that threads and coroutines can both wait for."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Promise(Future[T]):
    """`promise.result(timeout)` in a thread, `await promise` in a coroutine; or neither.

    A waiting coroutine may be cancelled: the promise is then cancelled too, and nothing else happens.
    """

    def __await__(self) -> Generator[Any, None, T]:
        if self.done() and not self.cancelled():
            return self.result()  # to go through the event loop costs more than most packets do
        result: T = yield from asyncio.wrap_future(self).__await__()
        return result

    def keep(self, value: T) -> None:
        """Give the result, unless nobody wants it any more."""
        if self.set_running_or_notify_cancel():
            self.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Give an error, unless nobody wants it any more."""
        if self.set_running_or_notify_cancel():
            self.set_exception(error)

    def shared(self) -> "Promise[T]":
        """Another promise of the same result: giving it up leaves this one as it is."""
        other: Promise[T] = Promise()

        def tell(done: Future[T]) -> None:
            error = done.exception()
            if error is None:
                other.keep(done.result())
            else:
                other.fail(error)

        self.add_done_callback(tell)
        return other

    @classmethod
    def kept(cls, value: T) -> "Promise[T]":
        """A promise that is kept already."""
        promise = cls()
        promise.set_result(value)
        return promise


def in_background(work: Callable[[], T], name: str) -> Promise[T]:
    """Do something in a thread of its own, for which a program that ends does not wait."""
    promise: Promise[T] = Promise()

    def run() -> None:
        try:
            promise.keep(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            promise.fail(error)

    Thread(target=run, name=name, daemon=True).start()
    return promise


def in_event_loop() -> bool:
    """Whether this thread runs coroutines just now, and so must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
