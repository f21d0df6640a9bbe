"""Where a send goes: here, to the loop that serves, or to the daemon over HTTP.

Design, section 6. A process that serves keeps its sends, unless ``publisher_host``
names another server; a process that does not, and shares no store, needs the daemon.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from django.core import mail
from django.core.exceptions import SynchronousOnlyOperation

from pushserver.conf import get_config
from pushserver.exceptions import NobodyListens, StoreUnavailable
from pushserver.hub import hub_of, running_hubs
from pushserver.publisher import publish_from_thread
from pushserver.stores import get_store
from pushserver.workers import visible_workers

__all__ = ["Ways", "is_remote", "refuse_in_a_loop", "run", "run_sync", "serve_here"]

T = TypeVar("T")

Here = Callable[[], Coroutine[Any, Any, T]]
There = Callable[[], T] | None
Ways = tuple[Here[T], There[T]]
"""A coroutine function for this process, and a blocking call if it is to be remote."""

# A loop that stops under a waiting thread would hold it, and the process, for ever.
_LOOP_TIMEOUT = 10.0  # seconds


class _Process:
    """What this process serves: nothing, or push at these addresses."""

    def __init__(self) -> None:
        self.serves = False
        self.addresses: set[tuple[str, int]] = set()

    def listens_at(self, location: str) -> bool:
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
    _process.serves = True
    _process.addresses.update(addresses)


def is_remote(alias: str) -> bool:
    """Say whether to send to ``publisher_host``.

    Raises NobodyListens where a send from here would be in vain.
    """
    if hasattr(mail, "outbox"):
        # Django's test runner has set up its environment: nobody has to listen.
        return False
    config = get_config()
    if not get_store(alias).local:
        return False
    if config.publisher_host_explicit:
        if not _process.listens_at(config.publisher_host.location):
            return True
    elif not _process.serves:
        return True
    if visible_workers() > 1:
        raise NobodyListens(
            f"This server has {visible_workers()} workers, and the memory store is "
            "of one: most readers would not hear. Set PUSH_SERVER['store'] to one "
            "that processes share, or start one worker."
        )
    return False


def run_sync(here: Here[T], there: There[T]) -> T:
    """Send from a thread without a running loop. Raises PushError."""
    if there is not None:
        return there()
    hubs = running_hubs()
    if hubs:
        future = asyncio.run_coroutine_threadsafe(here(), hubs[0].loop)
    else:
        future = publish_from_thread(here)
    try:
        return future.result(_LOOP_TIMEOUT)
    except TimeoutError:
        future.cancel()
        raise StoreUnavailable(
            f"The event loop that serves push did not answer in {_LOOP_TIMEOUT} s.",
            maybe_sent=True,
        ) from None


async def run(here: Here[T], there: There[T]) -> T:
    """Send from async code in any loop. Raises PushError."""
    if there is not None:
        return await asyncio.to_thread(there)
    if hub_of(asyncio.get_running_loop()):
        return await here()
    # A loop without a hub hands over, as a thread does.
    hubs = running_hubs()
    if hubs:
        future = asyncio.run_coroutine_threadsafe(here(), hubs[0].loop)
    else:
        future = publish_from_thread(here)
    return await asyncio.wrap_future(future)


def refuse_in_a_loop(name: str) -> None:
    """Raise SynchronousOnlyOperation in a running event loop, and name the way out."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"{name} was called in a running event loop: await a{name} instead."
    )
