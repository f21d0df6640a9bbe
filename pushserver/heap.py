"""The garbage collector, told once what is there to stay.

A push process holds thousands of requests, and each costs the collector a walk over
what it made. Now and then the collector walks over everything, which for a Django
project is some hundred thousand objects that never go away: measured with 1,000 held
polls, a tenth of all CPU on uvicorn and more on Daphne. And Python's own thresholds
are for programs that hold little: with 5,000 held polls a delivery takes 1.32 times as
much as on bare uvicorn, 1.21 times with one of 10,000 objects, and 1.14 with this.
"""

import gc
import threading

__all__ = ["freeze_once"]

_PYTHONS_OWN = (700, 2000)  # until 3.12, and since
_STARTED_WITH = 1000  # more than what an interpreter has frozen by itself (3.12: 375)
# Objects: what Django's pages of errors leave until then has 9 MB.
_YOUNG = 50_000

_lock = threading.Lock()
_frozen = False


def freeze_once() -> None:
    """Take what the process has loaded until now out of every later collection.

    Takes about a tenth of a second, the first time. What is frozen is still freed
    when nothing refers to it; only cycles among it are not looked for any more. The
    first threshold becomes 50,000 where it is Python's own. A process that has frozen
    its heap, or switched the collector off, is left alone.
    """
    global _frozen
    with _lock:
        if _frozen or not gc.isenabled() or gc.get_freeze_count() > _STARTED_WITH:
            return
        _frozen = True
    gc.collect()
    gc.freeze()
    young, *others = gc.get_threshold()
    if young in _PYTHONS_OWN:
        gc.set_threshold(_YOUNG, *others)
