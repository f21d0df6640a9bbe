"""One page, to see that what is no location goes to Django."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page of Django", content_type="text/plain")


urlpatterns = [path("page/", page)]
