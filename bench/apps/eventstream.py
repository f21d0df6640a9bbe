"""django-eventstream as its README sets it up, with a view that publishes."""

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="only for measuring, on the loopback interface of one machine",
    ALLOWED_HOSTS=["*"],
    LOGGING_CONFIG=None,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django_eventstream",
    ],
    ROOT_URLCONF="bench.apps.eventstream",
)
django.setup()

import django_eventstream  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402


def publish(request: HttpRequest, channel: str) -> HttpResponse:
    text = request.body.decode()
    django_eventstream.send_event(channel, "message", text, json_encode=False)
    return HttpResponse(status=201)


urlpatterns = [
    path("updates/<channel>", include(django_eventstream.urls)),
    path("send-update/<channel>", publish),
]
app = get_asgi_application()
