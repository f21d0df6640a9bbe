"""The project's own request for a poll, and the receivers that are given it.

A poll is answered outside of Django's request cycle. Where somebody wants to know
who is polling, the poll's request goes once through the project's ``MIDDLEWARE``;
where a view would stand, a marker is returned. If the marker comes back, the request
is what was wanted, and whatever middleware put on the marker is dropped.

Each pass and each round of receivers is a task of its own with a thread of its own
(a shared one would make all polls queue), and when it ends, that thread has closed
its database connections and is gone: while a poll waits it holds neither. Such a
task also finishes when the poll that awaits it is cancelled.
"""

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from pushserver.chain import PollHandler, run_chain
from pushserver.signals import channel_subscribe, channel_unsubscribe

__all__ = [
    "ConnectionSignals",
    "has_listeners",
    "notify",
    "send_response",
    "settled",
    "through_middleware",
]

T = TypeVar("T")
Scope = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)


def has_listeners(sender: Any) -> bool:
    """Tell whether polls of this consumer class need a request at all."""
    if not (channel_subscribe.receivers or channel_unsubscribe.receivers):
        return False  # as in most projects; has_listeners() takes 2 us
    return channel_subscribe.has_listeners(sender) or channel_unsubscribe.has_listeners(
        sender
    )


async def through_middleware(scope: Scope) -> HttpRequest | HttpResponseBase:
    """Return the poll's request, or what a middleware answered instead.

    An answer belongs to the client; ``send_response`` sends and closes it. A
    middleware that raises is logged as Django does and answered with one line. When
    the caller is cancelled, the pass is too, and cleans up by itself.
    """
    task = _start(functools.partial(run_chain, scope))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        raise


async def send_response(response: HttpResponseBase, send: Send) -> None:
    """Send an answer of `through_middleware`, streaming ones too, and close it."""

    async def work() -> None:
        try:
            await PollHandler().send_response(response, send)
        finally:
            await sync_to_async(response.close)()

    await _in_one_thread(work)


async def notify(
    signal: Signal, *, sender: Any, request: HttpRequest, channel_id: str
) -> None:
    """Run one round of receivers and wait for it.

    When the caller is cancelled, the round goes on without it: half a round would
    leave the project's books wrong. `settled` waits for such rounds.
    """
    if not signal.has_listeners(sender):
        return

    async def work() -> None:
        # reverse() works as in a view behind the same root_path.
        set_script_prefix(request.META.get("SCRIPT_NAME") or "/")
        await signal.asend_robust(sender, request=request, channel_id=channel_id)

    # Unlike shield(), wait() does not take a receiver that cancels itself for us.
    await asyncio.wait([_start(work)])


class ConnectionSignals:
    """What one connection tells the receivers: a subscribe, then an unsubscribe.

    Of each of its channels, in the order of the calls, one round at a time. Both
    methods only start that: nothing is delayed by it, and who is being cancelled can
    still call ``unsubscribe``. Nobody needs to await the rounds; ``sent`` is for who
    wants to, and `settled` for the end of the process.
    """

    def __init__(self, *, sender: Any, request: HttpRequest) -> None:
        self._round = functools.partial(notify, sender=sender, request=request)
        self._due: deque[tuple[Signal, str]] = deque()
        self._sending: asyncio.Task[None] | None = None

    def subscribe(self, channel_id: str) -> None:
        """Start the round of ``channel_subscribe``."""
        self._send(channel_subscribe, channel_id)

    def unsubscribe(self, channel_id: str) -> None:
        """Let ``channel_unsubscribe`` follow. To be called once for each subscribe."""
        self._send(channel_unsubscribe, channel_id)

    async def sent(self) -> None:
        """Wait for the rounds that were started."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    def _send(self, signal: Signal, channel_id: str) -> None:
        self._due.append((signal, channel_id))
        if self._sending is None:
            self._sending = _keep(asyncio.create_task(self._send_all()))

    async def _send_all(self) -> None:
        try:
            while self._due:
                signal, channel_id = self._due.popleft()
                await self._round(signal, channel_id=channel_id)
        finally:
            self._sending = None


async def settled() -> None:
    """Wait for every pass and round of this loop: what shutting down does last."""
    loop = asyncio.get_running_loop()
    while tasks := [task for task in _running if task.get_loop() is loop]:
        await asyncio.wait(tasks)


# One thread for each piece of work

_running: set[asyncio.Task[Any]] = set()  # a loop holds its tasks weakly


def _keep(task: asyncio.Task[T]) -> asyncio.Task[T]:
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def _start(work: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
    # A task has a copy of the context: the language, time zone and URLconf that
    # middleware activates end with it.
    return _keep(asyncio.create_task(_in_one_thread(work)))


async def _in_one_thread(work: Callable[[], Awaitable[T]]) -> T:
    async with ThreadSensitiveContext():
        # The thread is not ours below async_to_sync, as in a TestCase: its
        # connections are in use there.
        borrowed = await sync_to_async(_open_connections)()
        try:
            return await work()
        finally:
            await sync_to_async(_close_connections)(borrowed)


def _open_connections() -> set[Any]:
    initialized = connections.all(initialized_only=True)
    return {connection for connection in initialized if connection.connection}


def _close_connections(borrowed: set[Any]) -> None:
    for connection in _open_connections() - borrowed:
        try:
            connection.close()
            # In tests SQLite's database may be in memory: its connections refuse to
            # close, and would be a ResourceWarning when the thread is gone.
            BaseDatabaseWrapper.close(connection)
        except Exception:
            # The server may have dropped it; the poll has its answer all the same.
            logger.exception("Could not close the connection %s", connection.alias)
