"""Another application of ours, with a note of where its memory was asked for.

For ``python -m bench.profile --memory``: /watched begins to take notes, and answers
with what there is by then that was not there before: bytes and blocks by line of code.
"""

import gc
import linecache
import tracemalloc
from typing import Any

from bench.apps.watching import application, told


def found() -> list[Any]:
    if not tracemalloc.is_tracing():
        tracemalloc.start()
        return []
    gc.collect()
    so_far = tracemalloc.take_snapshot().statistics("lineno")
    lines = [(each.traceback[0], each) for each in so_far]
    return [
        [frame.filename, linecache.getline(frame.filename, frame.lineno).strip(),
         each.size, each.count]
        for frame, each in lines
    ]  # fmt: skip


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if not await told(scope, send, found):
        await application(scope, receive, send)
