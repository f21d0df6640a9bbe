"""The site needs no inline script or style, and says so to the browser."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        # Django's own pages for errors while DEBUG is on have their style inline.
        if response.status_code < 400:
            response["Content-Security-Policy"] = POLICY
        return response

    return middleware
