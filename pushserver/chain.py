"""The project's middleware chain, with a marker where the view would be.

The chain is Django's own, loaded once; only its innermost part is ours. If the marker
comes back, the request has seen all middleware, and what they put on the marker is
dropped. Whatever else comes back is an answer to the client.
"""

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.signals import (
    got_request_exception,
    request_finished,
    request_started,
    setting_changed,
)
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, set_script_prefix, set_urlconf
from django.utils.log import log_response
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

__all__ = ["PollHandler", "run_chain"]

# Middleware does least with a status of 500 and above: no session is saved, nothing
# is cached, compared with the cursor or redirected. And nobody else uses this one, so
# the marker is known again when a middleware returns a copy of it.
PASSED = 599

logger = logging.getLogger("django.request")


async def run_chain(scope: dict[str, Any]) -> HttpRequest | HttpResponseBase:
    """Return the poll's request, or what a middleware answered instead.

    ``request_started`` and ``request_finished`` are sent around it as Django does:
    what libraries keep per request ends here, although the poll goes on. An answer
    is not closed yet.
    """
    scope = _as_bare_get(scope)
    set_script_prefix(get_script_prefix(scope))
    try:
        handler = await sync_to_async(_loaded_handler)()
        await request_started.asend(PollHandler, scope=scope)
        request, refusal = handler.create_request(scope, BytesIO())
        if request is None:
            return _line(400, "The query string is not UTF-8", refusal)
        response: HttpResponseBase = await handler.get_response_async(request)
        if response.status_code != PASSED:
            return response
        await sync_to_async(response.close)()
    except asyncio.CancelledError:
        await request_finished.asend(PollHandler)
        raise
    except Exception:
        # Outside of any middleware's own safety net: one cannot be loaded, or
        # DEBUG_PROPAGATE_EXCEPTIONS is set.
        logger.exception(
            "Internal Server Error: %s", scope["path"], extra={"status_code": 500}
        )
        return _line(500, "Internal Server Error")
    return request


async def poll(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Stand where the view would be and answer with the marker."""
    return HttpResponse(status=PASSED, content_type="text/plain")


poll.csrf_exempt = True  # type: ignore[attr-defined]


class OneLineReporter(ExceptionReporter):
    """Answer in one line where DEBUG would show a traceback: a script reads it."""

    def get_traceback_text(self) -> SafeString:
        return SafeString("The request was refused; the log says why.\n")

    get_traceback_html = get_traceback_text


class PollRequest(ASGIRequest):
    """A poll as Django sees it: a GET without body."""

    exception_reporter_class = OneLineReporter
    failed = False  # a middleware raised


@receiver(got_request_exception)
def _remember_failure(*, request: Any = None, **kwargs: Any) -> None:
    if isinstance(request, PollRequest):
        request.failed = True


class PollHandler(ASGIHandler):
    request_class = PollRequest
    _middleware_chain: Callable[[HttpRequest], Awaitable[Any]]

    def __init__(self) -> None:
        """Load no middleware: to send an answer needs none."""

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        set_urlconf(getattr(request, "urlconf", settings.ROOT_URLCONF))
        route = request.scope.get("url_route", {})  # type: ignore[attr-defined]
        request.resolver_match = ResolverMatch(
            poll,
            tuple(route.get("args", ())),
            dict(route.get("kwargs", {})),
            url_name="poll",
            app_names=["pushserver"],
            namespaces=["pushserver"],
            route="pushserver",  # metrics count by route: one for all channels
        )
        return request.resolver_match

    def make_view_atomic(self, view: Any) -> Any:
        return view  # Django refuses ATOMIC_REQUESTS for async views

    async def get_response_async(self, request: Any) -> Any:
        set_urlconf(settings.ROOT_URLCONF)
        response = await self._middleware_chain(request)
        # Not request.close(), as Django would: receivers are going to use it.
        response._handler_class = type(self)
        if response.status_code == PASSED:
            return response
        if response.status_code >= 400:
            await sync_to_async(log_response)(
                "%s: %s",
                response.reason_phrase,
                request.path,
                response=response,
                request=request,
            )
        if request.failed and response.status_code >= 500:
            return _line(500, "Internal Server Error", response)
        if response.status_code == 400 and not _is_host_allowed(request):
            return _line(400, "This Host is not in ALLOWED_HOSTS", response)
        return response


def _as_bare_get(scope: dict[str, Any]) -> dict[str, Any]:
    # A body that the client sent all the same is not read; nor is it announced.
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
    return {**scope, "method": "GET", "headers": headers}


def _line(status: int, line: str, replaced: Any = None) -> HttpResponse:
    response = HttpResponse(f"{line}\n", status=status, content_type="text/plain")
    for_close: Any = response
    for_close._handler_class = PollHandler
    if replaced is not None:
        for_close._resource_closers.extend(replaced._resource_closers)
    return response


def _is_host_allowed(request: HttpRequest) -> bool:
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


_loading = threading.Lock()


def _loaded_handler() -> PollHandler:
    with _loading:  # first polls come together, each in a thread of its own
        return _load_handler()


@functools.cache
def _load_handler() -> PollHandler:
    # In a thread, because a middleware's __init__ may use the database.
    handler = PollHandler()
    handler.load_middleware(is_async=True)
    return handler


@receiver(setting_changed)
def _forget_handler(**kwargs: Any) -> None:
    # Any setting: middleware reads all kinds of them when it is made.
    _load_handler.cache_clear()
