"""A real Nchan with locations like the site's, for the rows both servers share."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import nginx
from tests.e2e.servers import Server, free_port

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
MAIN = f"load_module {MODULE}; master_process off;"

SUBSCRIBERS = {
    "long": "",
    "quick": "nchan_subscriber_timeout 1;",
    "interval": "nchan_subscriber interval-poll;",
    "known": "nchan_subscribe_existing_channels_only on;",
    "newest": "nchan_subscriber_first_message newest; nchan_subscriber_timeout 1;",
    "latest": "nchan_subscriber_first_message -2; nchan_subscriber_timeout 1;",
    "small": "nchan_subscriber interval-poll;",
    "brief": "nchan_subscriber interval-poll;",
    "deep": "",
    "anywhere": 'nchan_access_control_allow_origin "*"; nchan_subscriber_timeout 1;',
}

PUBLISHERS = {
    "publish": "",
    "publish-small": "nchan_message_buffer_length 3;",
    "publish-brief": "nchan_message_timeout 1s;",
    "publish-deep": "nchan_message_buffer_length 2000;",
    "publish-tiny": "client_max_body_size 100;",
}

TEMPLATES = {name: f"/{name}/{{id}}" for name in (*SUBSCRIBERS, *PUBLISHERS)}

HTTP = """\
    keepalive_requests 100000;
    client_body_buffer_size 64k;
    nchan_message_buffer_length 100;
    server {{
        listen 127.0.0.1:{port};
{locations}
    }}
"""

LOCATION = """\
        location ~ ^/{name}/([^/]+)$ {{
            nchan_channel_id $1;
            nchan_channel_group {group};
            {role}
            {options}
        }}
"""


def missing() -> str | None:
    """What this machine lacks to run Nchan, None when it is all there."""
    if nginx.PROGRAM is None:
        return "nginx is not installed"
    return None if MODULE.exists() else "the Nchan module is not installed"


def _location(name: str, options: str) -> str:
    publishes = name.startswith("publish")
    kind = name.removeprefix("publish").removeprefix("-")
    # Stores of the site are groups here: channels of the same name stay apart.
    group = kind if kind in ("small", "brief", "deep") else "default"
    role = "nchan_publisher;" if publishes else "nchan_subscriber longpoll;"
    if "nchan_subscriber " in options:
        role = ""
    return LOCATION.format(name=name, group=group, role=role, options=options)


def start(folder: Path) -> Server:
    """Start nginx with all these locations."""
    port = free_port()
    items = {**SUBSCRIBERS, **PUBLISHERS}.items()
    locations = "".join(_location(*item) for item in items)
    return nginx.start(
        folder, port, HTTP.format(port=port, locations=locations), main=MAIN
    )
