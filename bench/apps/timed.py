"""Another application of ours, with a note of when each message passes by.

For ``python -m bench.profile --paced``, where a message comes when the one before it
is done with: a note belongs to the last one. /watched answers with what happened to
each since it was asked last, in microseconds after its publisher had sent it.
"""

import gc
import re
import time
from collections.abc import Callable
from typing import Any

from bench.apps.watching import NAME, application, told

STAMP = re.compile(rb"#\d+:\d+:(\d+)#")  # the client's, by the same clock

Notes = list[tuple[str, float]]
messages: list[Notes] = []
sent = began = 0


def note(what: str, at: int | None = None) -> None:
    if messages:
        now = time.monotonic_ns() if at is None else at
        messages[-1].append((what, (now - sent) / 1000))


def collected(phase: str, about: dict[str, int]) -> None:
    """Note how long the garbage collector has stopped everything."""
    global began
    if phase == "start":
        began = time.monotonic_ns()
    elif messages:
        took = (time.monotonic_ns() - began) / 1000
        messages[-1].append((f"collected {about['generation']}", took))


def found() -> list[Notes]:
    so_far = messages.copy()
    messages.clear()
    return so_far


gc.callbacks.append(collected)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    called = time.monotonic_ns()
    if await told(scope, send, found):
        return
    publishes = scope.get("method") == "POST"

    async def received() -> Any:
        global sent
        event = await receive()
        if publishes and (stamp := STAMP.search(event.get("body", b""))):
            sent = int(stamp[1])
            messages.append([])
            note("called", called)
        return event

    async def noted(event: dict[str, Any]) -> None:
        await send(event)
        if event["type"] == "http.response.body":
            note("answered" if publishes else "read")

    await application(scope, received, noted)


if NAME == "ours":
    from pushserver.engine.waiters import Waiters
    from pushserver.stores.memory import MemoryStore

    def before(function: Callable[..., Any], what: str) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            note(what)
            return function(*args)

        return noting

    def after(function: Callable[..., Any], what: str) -> Callable[..., Any]:
        async def noting(*args: Any, **options: Any) -> Any:
            result = await function(*args, **options)
            note(what)
            return result

        return noting

    for owner, name, watch, what in (
        (MemoryStore, "append_and_head", after, "stored"),
        (Waiters, "take", before, "fan-out"),
    ):
        setattr(owner, name, watch(getattr(owner, name), what))
