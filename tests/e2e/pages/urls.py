"""The pages, among them those of docs/how-to."""

import re

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import engines
from django.urls import path

from tests.e2e.servers import ROOT

GUIDE = (ROOT / "docs" / "how-to" / "push-module.md").read_text()


def snippet(language: str) -> str:
    """Return the one example in that language."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return str(text)


def example(request: HttpRequest) -> HttpResponse:
    """The guide's page, word for word."""
    template = engines["django"].from_string(snippet("html"))
    return HttpResponse(template.render({"count": 41}, request))


def sends(request: HttpRequest) -> HttpResponse:
    """What the guide sends to it."""
    exec(snippet("python"), {})
    return HttpResponse()


def guide(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The page of another guide, word for word; one of several."""
    text = (ROOT / "docs" / "how-to" / f"{name}.md").read_text()
    found = re.findall(r"^```html\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    template = engines["django"].from_string(found[number])
    return HttpResponse(template.render({}, request))


def page(request: HttpRequest, name: str) -> HttpResponse:
    return render(request, f"{name}.html")


urlpatterns = [
    path("example/", example),
    path("sends/", sends),
    path("guide/<slug:name>/<int:number>/", guide),
    path("<slug:name>/", page),
]
