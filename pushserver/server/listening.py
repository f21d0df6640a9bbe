"""The socket that runpushserver listens on, and how many more it may open."""

import contextlib
import socket
import sys

if sys.platform != "win32":  # pragma: no branch
    import resource

__all__ = ["BACKLOG", "listen", "raise_file_limit"]

# The kernel cuts it to what it allows; 1,000 pages may come back within a second.
BACKLOG = 4096


def listen(address: str, port: int, *, ipv6: bool = False) -> socket.socket:
    """Return a listening socket; OSError says why there is none.

    Twisted does not resolve names, and what it raises Daphne only logs.
    """
    family = socket.AF_INET6 if ipv6 or ":" in address else socket.AF_INET
    found = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)
    # Named, because asyncio sets TCP_NODELAY only where it sees that this is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[0][4])
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def raise_file_limit() -> None:
    """Allow as many open files as the system does: each held poll is one."""
    if sys.platform != "win32":  # pragma: no branch
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Some systems name a hard limit that they do not grant.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
