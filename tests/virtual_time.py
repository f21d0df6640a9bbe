"""An event loop that jumps over waiting, so that 25 seconds of it take none.

Time passes as usual while code runs. When nothing is left to do before the next
timer, the loop does not sleep until then: it moves its clock there. It sleeps for
real, as any loop does, while something outside of it may still answer:

- work handed to a thread (`run_in_executor`, `to_thread`, `sync_to_async`) that has
  not brought its result back yet,
- another thread that was started since the loop was made (idle workers of thread
  pools excepted),
- a socket or pipe it watches (a loop with real I/O runs in real time),
- a `real_time()` block, for anything else.

Two things that would hang a test raise `Stuck` instead: nothing will ever wake the
loop, or its clock has run past `HORIZON` (timers that feed each other for ever).
"""

import asyncio
import contextlib
import selectors
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.thread import _threads_queues  # the only list of pool workers
from typing import Any

HORIZON = 40 * 24 * 3600.0  # longer than any timeout of the project
PATIENCE = 10.0  # real seconds without a timer before the loop is called stuck
SLICE = 0.002  # real seconds between two looks at threads that end without a word


class Stuck(RuntimeError):
    """The loop waits for something that cannot come."""


class JumpingSelector(selectors.BaseSelector):
    """The real selector, with the clock moved instead of waiting where that is safe."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.jumped = 0.0
        self.outside = 0  # what may still answer from outside of the loop
        self._known = set(threading.enumerate())

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        # One descriptor is the pipe by which threads wake the loop.
        if self.outside or len(self._selector.get_map()) > 1:
            return self._selector.select(timeout)
        if self._other_threads():
            return self._selector.select(min(timeout or SLICE, SLICE))
        # A thread that ended between the two looks has left its message by now.
        ready = self._selector.select(PATIENCE if timeout is None else 0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("no timer, no thread and no socket will wake this loop")
        self.jumped += timeout
        if self.jumped > HORIZON:
            raise Stuck(f"virtual time ran past {HORIZON:.0f} seconds")
        return []

    def _other_threads(self) -> bool:
        workers = set(_threads_queues)
        return bool(set(threading.enumerate()) - self._known - workers)

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()

    def close(self) -> None:
        self._selector.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` includes the waits it has jumped over."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        self._threads: ThreadPoolExecutor | None = None
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.jumped

    @contextlib.contextmanager
    def real_time(self) -> Iterator[None]:
        """Wait for real inside the block. Belongs to the loop's own thread."""
        self._jumping.outside += 1
        try:
            yield
        finally:
            self._jumping.outside -= 1

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        if executor is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
                self.set_default_executor(self._threads)
            executor = self._threads
        work = executor.submit(func, *args)
        future = asyncio.wrap_future(work, loop=self)
        self._jumping.outside += 1

        def finished(_: Future[Any]) -> None:
            # A thread may outlive the loop; then nobody counts any more.
            with contextlib.suppress(RuntimeError):
                self.call_soon_threadsafe(forget)

        def forget() -> None:
            # Both must be done: the thread (its waiter may have been cancelled long
            # before) and the hand-over of its result, which may arrive after this.
            if future.done():
                self._jumping.outside -= 1
            else:
                future.add_done_callback(lambda _: forget())

        work.add_done_callback(finished)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        # Joins the pool in a thread of its own, with a timeout that must not be jumped.
        with self.real_time():
            await super().shutdown_default_executor(*args, **kwargs)
