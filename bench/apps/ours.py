"""django-pushserver as a project has it that says nothing but where its URLs are."""

import os

import django
from django.conf import settings

REDIS = os.environ.get("BENCH_REDIS")

settings.configure(
    SECRET_KEY="only for measuring, on the loopback interface of one machine",
    DEBUG=True,  # so that the loopback interface may publish
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["pushserver"],
    ROOT_URLCONF="bench.apps.ours",
    LOGGING_CONFIG=None,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": os.environ["BENCH_LAYER"],
            "CONFIG": {"hosts": [REDIS]},
        }
    }
    if REDIS
    else {},
    PUSH_SERVER={},
)
urlpatterns: list[object] = []
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402

from pushserver.asgi import push_application  # noqa: E402

app = push_application(get_asgi_application())
