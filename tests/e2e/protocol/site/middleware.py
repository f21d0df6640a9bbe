"""Middleware of the site: one that has a bug, and one that answers by itself."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

GetResponse = Callable[[HttpRequest], HttpResponse]


def breaking_down(get_response: GetResponse) -> GetResponse:
    """Raise on channels whose name asks for it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if "broken-middleware" in request.path:
            raise LookupError("a bug in a middleware")
        return get_response(request)

    return middleware


def sending_away(get_response: GetResponse) -> GetResponse:
    """Redirect on channels whose name asks for it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if "members-only" in request.path:
            return HttpResponseRedirect("/login/")
        return get_response(request)

    return middleware
