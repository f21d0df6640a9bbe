"""Starts the suite's own site under each server that the project supports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.e2e import servers
from tests.e2e.protocol.target import Target
from tests.e2e.servers import ROOT, Server

NAMES = ("daphne", "runpushserver", "uvicorn", "granian")
APPLICATION = "tests.e2e.protocol.site.asgi:application"
SETTINGS = "tests.e2e.protocol.site.settings"


def start(name: str, face: str = "quiet") -> Server:
    """Start the named server; `face` is which of the site's settings it shows."""
    env: Mapping[str, str] = {"PROTOCOL_SITE": face, "DJANGO_SETTINGS_MODULE": SETTINGS}
    if name == "runpushserver":
        return servers.start_runpushserver(
            ROOT, "--allrequests", settings=SETTINGS, env=env
        )
    if name == "daphne":
        return servers.start_daphne(ROOT, APPLICATION, env=env)
    quiet = ("--log-level", "warning")
    if name == "uvicorn":
        # It believes X-Forwarded-For itself unless told not to, and would hide from
        # `trusted_proxies` who really connected.
        own = ("--no-proxy-headers",) if face == "listening" else ()
        return servers.start_uvicorn(ROOT, APPLICATION, *quiet, *own, env=env)
    return servers.start_granian(ROOT, APPLICATION, *quiet, env=env)


def target(server: Server, name: str = "own") -> Target:
    """The server as the rows see it."""
    return Target(name, server.host, server.port)


def resident(server: Server) -> int:
    """Bytes of memory that the process and its children occupy."""
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            group = (folder / "stat").read_text().rpartition(")")[2].split()[2]
            if int(group) == server.process.pid:
                pages += int((folder / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")
