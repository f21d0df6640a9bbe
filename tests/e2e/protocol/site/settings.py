"""Settings of the site; `PROTOCOL_SITE=listening` is its second face.

The first face has nobody listening to signals and DEBUG off. The second one connects
receivers, turns DEBUG on, trusts proxies on loopback and lets `resync` run out quickly.
"""

import os
from typing import Any

LISTENING = os.environ.get("PROTOCOL_SITE") == "listening"
LOOPBACK = ["127.0.0.0/8", "::1/128"]

DEBUG = LISTENING
SECRET_KEY = "of the protocol suite"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["pushserver", "tests.e2e.protocol.site"]
MIDDLEWARE = [
    "tests.e2e.protocol.site.middleware.breaking_down",
    "tests.e2e.protocol.site.middleware.sending_away",
]
ROOT_URLCONF = "tests.e2e.protocol.site.urls"
ASGI_APPLICATION = "tests.e2e.protocol.site.asgi.application"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"named": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "named"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}


def subscriber(name: str, **options: Any) -> dict[str, Any]:
    return {"type": "subscriber", "url": rf"/{name}/([^/]+)", **options}


def publisher(name: str, **options: Any) -> dict[str, Any]:
    location = {"type": "publisher", "url": rf"/{name}/([^/]+)", "allow": LOOPBACK}
    return {**location, **options}


PUSH_SERVER: dict[str, Any] = {
    "store": {
        "default": {"type": "memory"},
        "small": {"type": "memory", "max_messages": 3},
        "brief": {"type": "memory", "message_timeout": 1},
        "deep": {"type": "memory", "max_messages": 2000},
    },
    "locations": [
        subscriber("long"),
        subscriber("quick", poll_timeout=0.5),
        subscriber("interval", polling="interval"),
        subscriber("known", create_on_get=False, poll_timeout=0.5),
        subscriber("newest", first_message="newest", poll_timeout=0.5),
        subscriber("latest", first_message=2, poll_timeout=0.5),
        subscriber("newcomer", concurrency="last"),
        subscriber("firstcomer", concurrency="first"),
        subscriber(
            "origin",
            allow_origin="https://one.example",
            create_on_get=False,
            poll_timeout=0.5,
        ),
        subscriber(
            "origins",
            allow_origin=["https://one.example", "https://two.example"],
            allow_credentials=True,
            concurrency="first",
        ),
        subscriber("anywhere", allow_origin="*", poll_timeout=0.5),
        {"type": "subscriber", "prefix": "/path/", "polling": "interval"},
        {"type": "subscriber", "url": r"/free/(.*)", "polling": "interval"},
        subscriber("small", store="small", polling="interval"),
        subscriber("brief", store="brief", polling="interval"),
        subscriber("deep", store="deep"),
        subscriber("narrow", store="small"),
        subscriber("fleeting", store="small", max_stream_seconds=2),
        {"type": "multiplex", "url": "/many", "poll_timeout": 0.5},
        publisher("publish"),
        {"type": "publisher", "prefix": "/publish-path/", "allow": LOOPBACK},
        {"type": "publisher", "url": r"/publish-free/(.*)", "allow": LOOPBACK},
        publisher("publish-small", store="small"),
        publisher("publish-brief", store="brief"),
        publisher("publish-deep", store="deep"),
        publisher("publish-known", create_on_post=False),
        publisher("publish-passing", store_messages=False),
        publisher("publish-tiny", max_body=100),
        {"type": "publisher", "url": r"/publish-default/([^/]+)"},
        publisher("publish-elsewhere", allow=["192.0.2.0/24"]),
    ],
}

if LISTENING:
    PUSH_SERVER["trusted_proxies"] = LOOPBACK
    PUSH_SERVER["resync"] = 0.5
