"""Another application of ours, with a note of where its Python code is.

For ``python -m bench.profile``: each millisecond or so of CPU the function that runs is
counted; /sampled answers with the counts since it was asked last.
"""

import json
import os
import signal
from collections import Counter
from importlib import import_module
from types import FrameType
from typing import Any

SECONDS = 0.001  # of CPU; the kernel's tick may be longer

application = import_module(f"bench.apps.{os.environ['BENCH_SAMPLED']}").app
counts: Counter[tuple[str, str]] = Counter()


def sample(_signal: int, frame: FrameType | None) -> None:
    if frame is not None:
        counts[frame.f_code.co_filename, frame.f_code.co_qualname] += 1


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope.get("path") != "/sampled":
        await application(scope, receive, send)
        return
    body = json.dumps([[*where, n] for where, n in counts.most_common()]).encode()
    counts.clear()
    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
