"""Views of the project: one sends, one shows what nginx made of a request."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from pushserver import send_update
from pushserver.exceptions import StoreUnavailable


def send(request: HttpRequest) -> HttpResponse:
    """Send the body's text to the channel, as an ordinary synchronous view does."""
    channel, text = request.body.decode().split(maxsplit=1)
    return HttpResponse(publish(channel, text))


def publish(channel: str, text: str) -> str:
    """Send once and say how it went: accepted, refused, or nobody knows."""
    try:
        send_update(channel, {"text": text})
    except StoreUnavailable as error:
        return "maybe" if error.maybe_sent else "refused"
    return "accepted"


def headers(request: HttpRequest) -> JsonResponse:
    return JsonResponse(dict(request.headers))


urlpatterns = [path("send/", send), path("headers/", headers)]
