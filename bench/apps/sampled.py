"""Another application of ours, with a note of where its Python code is.

For ``python -m bench.profile``: each millisecond or so of CPU the function that runs is
counted; /watched begins that, and asked again answers with the counts.
"""

import signal
from collections import Counter
from types import FrameType
from typing import Any

from bench.apps.watching import application, told

SECONDS = 0.001  # of CPU; the kernel's tick may be longer

counts: Counter[tuple[str, str]] = Counter()
wakeup: int | None = None


def sample(_signal: int, frame: FrameType | None) -> None:
    if frame is not None:
        counts[frame.f_code.co_filename, frame.f_code.co_qualname] += 1


def found() -> list[Any]:
    """Begin to count, or return the counts and end."""
    global wakeup
    if wakeup is None:
        signal.signal(signal.SIGPROF, sample)
        # Else each sample would wake the server's loop, whose work would be counted.
        wakeup = signal.set_wakeup_fd(-1)
        signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
        return []
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    wakeup = None
    so_far = [[*where, times] for where, times in counts.most_common()]
    counts.clear()
    return so_far


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if not await told(scope, send, found):
        await application(scope, receive, send)
