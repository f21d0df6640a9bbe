"""nginx in the foreground, with all that it writes inside one folder."""

import os
import shutil
from pathlib import Path

from tests.e2e.servers import Server

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
PROGRAM = shutil.which("nginx", path=_PATH)

_CONFIG = """\
{main}
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


def configure(
    folder: Path, http: str, *, main: str = "", connections: int = 1024
) -> list[str]:
    """Write a configuration into the folder and return the command that runs it.

    ``http`` are the lines of its block, ``main`` those above everything.
    """
    # Started by root its workers would be somebody who may not read here.
    user = "" if os.geteuid() else "user root;"
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            main=main, user=user, folder=folder, connections=connections, http=http
        )
    )
    return [PROGRAM or "nginx", "-p", str(folder), "-c", str(config)]


def start(
    folder: Path, port: int, http: str, *, main: str = "", connections: int = 1024
) -> Server:
    """Start nginx with a configuration that has it listen on the port."""
    command = configure(folder, http, main=main, connections=connections)
    return Server(command, cwd=folder, port=port).wait_listening()
