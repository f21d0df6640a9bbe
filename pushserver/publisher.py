"""The one event loop that sends for a process which serves nothing itself.

It lives in a daemon thread, and with it the connections: a fresh loop and fresh
connections for each send would cost ten times the send (design, section 6).
"""

import asyncio
import atexit
import multiprocessing
import os
import threading
from contextlib import suppress
from multiprocessing.util import Finalize

from pushserver.conf import get_config
from pushserver.engine.wakeups import Announcer, announcer_of
from pushserver.forks import forget_in_child
from pushserver.stores import close_stores

__all__ = ["close", "publisher_loop"]

_EXIT_TIMEOUT = 3.0  # seconds: a dead Redis must not hold a process that ends


class _Publisher:
    """A thread with a loop, and an announcer of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, name="pushserver-publisher", daemon=True
        )
        self._runs = threading.Event()
        self._thread.start()
        # Who sends gives up on a loop that does not run.
        self._runs.wait()

    def close(self) -> None:
        """Send the wake-ups that are pending, close the connections, end the thread."""
        # Where Redis does not answer, verification finds what is stored.
        with suppress(TimeoutError):
            closing = asyncio.run_coroutine_threadsafe(self._close(), self.loop)
            closing.result(_EXIT_TIMEOUT)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_EXIT_TIMEOUT)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(lambda: Announcer(get_config()))
        self.loop.call_soon(self._runs.set)
        self.loop.run_forever()
        self.loop.close()

    async def _close(self) -> None:
        announcer = announcer_of(self.loop)
        if announcer is not None:
            await announcer.close()
        await close_stores()


_publishers: dict[str, _Publisher] = {}  # one at most
_lock = threading.Lock()


def publisher_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop of the process's publisher, started at the first call."""
    with _lock:
        if not _publishers:
            _publishers["of this process"] = _Publisher()
            if multiprocessing.parent_process() is not None:
                # Its children end without atexit, but with this.
                Finalize(None, close, exitpriority=0)
        (publisher,) = _publishers.values()
        return publisher.loop


@atexit.register
def close() -> None:
    """Flush and end the publisher; the next send starts another."""
    with _lock:
        while _publishers:
            _publishers.popitem()[1].close()


def _unlock_in_child() -> None:
    # Another thread of the parent may have held it when the process forked.
    global _lock
    _lock = threading.Lock()


forget_in_child(_publishers)
os.register_at_fork(after_in_child=_unlock_in_child)
