"""What applications and transports are called where people read."""

from bench.measured import Entry

__all__ = ["TRANSPORTS", "name_of"]

TRANSPORTS = {"poll": "long poll", "stream": "event stream", "socket": "WebSocket",
              "many": "multiplexed long poll"}  # fmt: skip
APPLICATIONS = {"ours": "**django-pushserver**", "ceiling": "bare ASGI",
                "eventstream": "django-eventstream", "typical": "typical consumer",
                "": "Nchan"}  # fmt: skip


def name_of(entry: Entry) -> str:
    name = APPLICATIONS[entry["application"]]
    if entry["layer"]:
        name += f" ({entry['layer'].replace('layers', 'memory layer')})"
    if entry["server"] != "Nchan":
        name += f", {entry['server']}"
    return f"{name}, {TRANSPORTS[entry['transport']]}"
