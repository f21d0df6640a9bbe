"""Where a send goes: here, to the loop that serves, or to the daemon over HTTP.

Design, section 6. A process that serves keeps its sends, unless ``publisher_host``
names another server; a process that does not, and shares no store, needs the daemon.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent import futures
from typing import Any, Generic, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from pushserver.conf import get_config
from pushserver.engine.hub import hub_of, running_hubs
from pushserver.exceptions import NobodyListens, StoreUnavailable
from pushserver.publisher import publisher_loop
from pushserver.stores import get_store
from pushserver.workers import visible_workers

__all__ = ["Ways", "is_remote", "refuse_in_a_loop", "run", "run_sync", "serve_here"]

T = TypeVar("T")

Here = Callable[[], Coroutine[Any, Any, T]]
There = Callable[[], T] | None
Ways = tuple[Here[T], There[T]]
"""A coroutine function for this process, and a blocking call if it is to be remote."""

# A loop that hangs, or stops without a word, would hold who waits for it for ever.
_LOOP_TIMEOUT = 10.0  # seconds
_LOOK_AGAIN = 0.2  # seconds until we look whether the loop still runs


class _Process:
    """What this process serves: nothing, or push at these addresses."""

    def __init__(self) -> None:
        self.here = self.before_fork = False
        self.addresses: set[tuple[str, int]] = set()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.before_fork |= self.here
        self.here = False

    @property
    def serves(self) -> bool:
        # A worker of a server that had loaded the application before, or a child that
        # multiprocessing has started for some work.
        worker = self.before_fork and multiprocessing.parent_process() is None
        return self.here or worker

    def listens_at(self, location: str) -> bool:
        if not self.serves:
            return False
        host, _, port = location.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        mine = {address for address, number in self.addresses if str(number) == port}
        wildcards = {"0.0.0.0", "::"}  # noqa: S104 (compared, not bound)
        return host in mine or bool(mine & wildcards and host in ("127.0.0.1", "::1"))


_process = _Process()


def serve_here(*, addresses: Iterable[tuple[str, int]] = ()) -> None:
    """Note that this process serves push, and at which addresses if they are known.

    From now on its sends stay in it, unless ``publisher_host`` names another.
    """
    _process.here = True
    if addresses:
        _process.addresses.update(addresses)


def is_remote(alias: str) -> bool:
    """Say whether to send to ``publisher_host``.

    Raises NobodyListens where a send from here would be in vain.
    """
    if _is_test_run() or not get_store(alias).local:
        return False
    config = get_config()
    if config.publisher_host_explicit:
        here = _process.listens_at(config.publisher_host.location)
    else:
        here = _process.serves
    if here and visible_workers() > 1:
        raise NobodyListens(
            f"This server has {visible_workers()} workers, and the memory store is "
            "of one: most readers would not hear. Set PUSH_SERVER['store'] to one "
            "that processes share, or start one worker."
        )
    return not here


def _is_test_run() -> bool:
    """Say whether Django's test runner (or pytest-django) has set up its environment.

    Then nobody has to listen. mail.outbox would not tell: the locmem backend makes
    one in any process.
    """
    test_utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(test_utils, "_TestState", None), "saved_data")


def run_sync(here: Here[T], there: There[T]) -> T:
    """Send from a thread without a running loop. Raises PushError."""
    if there is not None:
        return there()
    handed = _hand_over(here)
    try:
        while handed.may_answer():
            futures.wait([handed.future], _LOOK_AGAIN)
    finally:
        handed.future.cancel()
    return handed.result()


async def run(here: Here[T], there: There[T]) -> T:
    """Send from async code in any loop. Raises PushError."""
    if there is not None:
        return await asyncio.to_thread(there)
    if hub_of(asyncio.get_running_loop()):
        return await here()
    # A loop without a hub hands over, as a thread does.
    handed = _hand_over(here)
    answer = asyncio.wrap_future(handed.future)
    # Its error is raised below, so it counts as retrieved.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        while handed.may_answer():
            await asyncio.wait([answer], timeout=_LOOK_AGAIN)
    finally:
        handed.future.cancel()
    return handed.result()


class _Handed(Generic[T]):
    """A send that runs on another loop than that of who waits for it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]
    ) -> None:
        self.future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        self._loop = loop
        self._end = time.monotonic() + _LOOP_TIMEOUT

    def may_answer(self) -> bool:
        """Say whether it is worth waiting: not when the loop has stopped."""
        return (
            not self.future.done()
            and self._loop.is_running()
            and time.monotonic() < self._end
        )

    def result(self) -> T:
        if self.future.cancelled():
            # By us, or by the loop when it ended: then the caller is not cancelled.
            raise StoreUnavailable(
                "The event loop that serves push has stopped, or does not answer.",
                maybe_sent=True,
            )
        return self.future.result()


def _hand_over(here: Here[T]) -> _Handed[T]:
    """Start a send on the loop that serves, else on the publisher's."""
    for hub in running_hubs():
        coroutine = here()
        try:
            return _Handed(hub.loop, coroutine)
        except RuntimeError:  # the loop was closed since we found the hub
            coroutine.close()
    return _Handed(publisher_loop(), here())


def refuse_in_a_loop(name: str) -> None:
    """Raise SynchronousOnlyOperation in a running event loop, and name the way out."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"{name} was called in a running event loop: await a{name} instead."
    )
