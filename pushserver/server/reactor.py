"""Twisted's reactor and its loop: uvloop's, where that is installed.

Import this before anything of Daphne's, which installs a reactor where it finds none.
With "daphne" in INSTALLED_APPS that has happened already, on a loop of asyncio's.
"""

# mypy: disable-error-code="no-untyped-call"
# Twisted has types for some of it only.

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["loop", "reactor"]


def _install() -> None:
    from twisted.internet import asyncioreactor
    from uvloop import new_event_loop

    loop = new_event_loop()
    if threads := os.environ.get("ASGI_THREADS"):  # as Daphne does for its own
        loop.set_default_executor(ThreadPoolExecutor(max_workers=int(threads)))
    asyncioreactor.install(loop)


if "twisted.internet.reactor" not in sys.modules:
    with contextlib.suppress(ImportError):
        _install()

import daphne.server  # noqa: E402, F401
from twisted.internet import reactor as _installed  # noqa: E402

reactor: Any = _installed
loop: Any = reactor._asyncioEventloop
