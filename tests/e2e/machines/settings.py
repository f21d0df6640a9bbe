"""Settings of every process; the environment says what differs between runs.

MACHINES_REDIS is the URL of Redis, MACHINES_LAYER which channel layer, and
MACHINES_FAULT the name of a fault that `asgi` builds in.
"""

import os

from tests.e2e.machines.scale import RESYNC

REDIS = os.environ["MACHINES_REDIS"]
LOOPBACK = ["127.0.0.0/8"]

SECRET_KEY = "of the machines"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["pushserver"]
# Without Content-Length, runserver would close each connection.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "tests.e2e.machines.urls"
ASGI_APPLICATION = "tests.e2e.machines.asgi.application"
USE_TZ = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ.get(
            "MACHINES_LAYER", "tests.e2e.machines.layers.PubSubLayer"
        ),
        "CONFIG": {"hosts": [REDIS]},
    }
}

PUSH_SERVER = {
    # Redis, as the layer is, and of its hosts.
    "store": {"max_messages": 2000},
    "resync": RESYNC,
    "trusted_proxies": LOOPBACK,
    "locations": [
        {"type": "subscriber", "prefix": "/updates/"},
        {"type": "multiplex", "url": "/updates"},
        {"type": "publisher", "prefix": "/send-update/", "allow": LOOPBACK},
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"named": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "named"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # A line for each poll would hide the others.
    "loggers": {"django.server": {"level": "CRITICAL"}},
}
