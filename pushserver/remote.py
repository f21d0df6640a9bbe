"""Publishing over HTTP, signed: how a process without the store reaches the daemon."""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, fields
from typing import Any

from pushserver.conf import get_config
from pushserver.engine.publishing import ChannelInfo, Sent
from pushserver.exceptions import (
    DaemonUnreachable,
    MessageTooBig,
    PublishRefused,
)
from pushserver.links import publisher_url
from pushserver.tokens import sign_publish

__all__ = ["delete", "info", "prepare", "publish"]

_TIMEOUT = 5.0  # seconds for each step: connect, send, answer


def prepare(
    method: str,
    channel_id: str,
    body: bytes = b"",
    *,
    content_type: str | None = None,
    event: str | None = None,
) -> urllib.request.Request:
    """Return a signed request to ``publisher_host``.

    Raises InvalidChannelId, and NobodyListens when there is no publisher location.
    """
    request = urllib.request.Request(  # noqa: S310 (the scheme is http or https)
        publisher_url(channel_id),
        data=body if method == "POST" else None,
        headers={
            "Accept": "application/json",
            "Authorization": f"Bearer {sign_publish(method, channel_id, body)}",
        },
        method=method,
    )
    if content_type is not None:
        request.add_header("Content-type", content_type)
    if event is not None:
        # As Nchan has it; in UTF-8, which http.client sends as Latin-1 only.
        request.add_header("X-EventSource-Event", event.encode().decode("latin-1"))
    return request


def publish(request: urllib.request.Request) -> Sent:
    """Send what ``prepare`` made for a POST.

    Like all calls here it blocks, for some seconds at most, and raises
    DaemonUnreachable, MessageTooBig and PublishRefused.
    """
    answer = _call(request)
    if answer.status == 404:
        raise PublishRefused(
            f"{request.full_url} answered 404: there is no publisher location, or it "
            "has 'create_on_post': False and there is no such channel.",
            status=404,
        )
    if answer.status not in (201, 202):
        raise _no_push_server(answer)
    tag = answer.headers.get("ETag")
    # Without a count, as from Nchan: 201 says that somebody was held.
    held = answer.headers.get("X-Push-Held", answer.status == 201)
    return Sent(tag and tag.removeprefix("W/").strip('"'), int(held))


def delete(channel_id: str) -> bool:
    """Delete the channel; return whether there was one."""
    return _call(prepare("DELETE", channel_id)).status != 404


def info(channel_id: str) -> ChannelInfo | None:
    """Return what is known of the channel, None if there is none."""
    answer = _call(prepare("GET", channel_id))
    if answer.status == 404:
        return None
    try:
        names = [field.name for field in fields(ChannelInfo)]
        return ChannelInfo(**{name: answer.about[name] for name in names})
    except KeyError:
        raise _no_push_server(answer) from None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the daemon said: its status, its headers, and its channel information."""

    status: int
    headers: http.client.HTTPMessage
    about: dict[str, Any]


def _call(request: urllib.request.Request) -> _Answer:
    """Send the request and return the answer; a 404 is one."""
    try:
        with _OPENER.open(request, timeout=_TIMEOUT) as response:
            status, headers, body = response.status, response.headers, response.read()
    except urllib.error.URLError as error:  # connecting or sending failed
        raise _unreachable(error.reason) from error
    except (OSError, http.client.HTTPException) as error:  # the answer did not come
        raise _unreachable(error, maybe_sent=True) from error
    if status < 300:
        return _Answer(status, headers, _about(body))
    if status == 404:
        return _Answer(status, headers, {})
    said = body[:200].decode(errors="replace").strip()
    message = f"{get_config().publisher_host.url} answered {status}: {said}"
    if status == 413:
        raise MessageTooBig(message)
    raise PublishRefused(message, status=status)


def _about(body: bytes) -> dict[str, Any]:
    try:
        about = json.loads(body)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _no_push_server(answer: _Answer) -> PublishRefused:
    return PublishRefused(
        f"{get_config().publisher_host.url} answered {answer.status}, but not as a "
        "push server does: does PUSH_SERVER['publisher_host'] name one?",
        status=answer.status,
    )


def _unreachable(reason: object, *, maybe_sent: bool = False) -> DaemonUnreachable:
    host = get_config().publisher_host
    if host.secure and not isinstance(reason, ConnectionRefusedError):
        # What a plain server makes of a TLS greeting differs: an alert, a close, or
        # silence. So it cannot be told from the reason.
        advice = (
            "PUSH_SERVER['publisher_host'] has 'secure': True, so https is spoken; "
            "runpushserver itself speaks plain http."
        )
    else:
        advice = (
            "Start `manage.py runpushserver`, or say in PUSH_SERVER['publisher_host'] "
            "where the push server listens."
        )
    return DaemonUnreachable(
        f"No answer from {host.url} ({reason}). {advice}", maybe_sent=maybe_sent
    )


class _NoDefaultType:
    """What urllib would add to a body without a type: absent stays absent."""

    def do_request_(self, request: urllib.request.Request) -> urllib.request.Request:
        typed = request.has_header("Content-type")
        request = super().do_request_(request)  # type: ignore[misc]
        if not typed:
            request.unredirected_hdrs.pop("Content-type", None)
        return request


class _HTTPHandler(_NoDefaultType, urllib.request.HTTPHandler):
    http_request = _NoDefaultType.do_request_


class _HTTPSHandler(_NoDefaultType, urllib.request.HTTPSHandler):
    https_request = _NoDefaultType.do_request_


# No proxies of the environment, no redirects, no exception for a status.
_OPENER = urllib.request.OpenerDirector()
_OPENER.add_handler(_HTTPHandler())
_OPENER.add_handler(_HTTPSHandler())
