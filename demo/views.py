"""Plain synchronous views: to push needs nothing special from them."""

import sys
from functools import partial
from pathlib import Path
from typing import cast

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from demo.forms import PushForm, VoteForm
from demo.models import Choice
from demo.receivers import presence
from demo.updates import CHANNEL, votes_update
from pushserver import InvalidChannelId, PushError, Sent, channel_url, send_update


def board(request: HttpRequest) -> HttpResponse:
    """The page with everything on it, as things stand; the rest is pushed to it."""
    votes = votes_update()
    return render(
        request,
        "demo/board.html",
        {
            "channel_id": CHANNEL,
            "choices": Choice.objects.all(),
            "total": votes["total"],
            "python": _python(),
            "page": {
                **_page(request, CHANNEL),
                "state": [votes, presence.update],
                "user": request.user.get_username(),
            },
        },
    )


def channel(request: HttpRequest, channel_id: str) -> HttpResponse:
    """The messages of any channel."""
    try:
        page = _page(request, channel_id)
    except InvalidChannelId as error:
        raise Http404(str(error)) from error
    context = {"channel_id": channel_id, "page": page}
    return render(request, "demo/channel.html", context)


@require_POST
def vote(request: HttpRequest) -> HttpResponse:
    form = VoteForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": _first_error(form)}, status=400)
    with transaction.atomic():
        mine = Choice.objects.filter(pk=form.cleaned_data["choice"].pk)
        mine.update(votes=F("votes") + 1)
        # Not before the commit: a page would hear of a vote that nobody else sees
        # yet, or that is rolled back.
        transaction.on_commit(partial(send_update, CHANNEL, votes_update()))
    # The page stays: it hears of its own vote as all the others do.
    return HttpResponse(status=204) if _from_script(request) else redirect("board")


@require_POST
def push(request: HttpRequest) -> JsonResponse:
    """Send what a user typed, and answer what became of it."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": "Log in first."}, status=403)
    form = PushForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": _first_error(form)}, status=400)
    channel_id = form.cleaned_data["channel"]
    try:
        # None only where PUSH_SERVER_IGNORE_ERRORS is set.
        sent = cast(Sent, send_update(channel_id, form.cleaned_data["update"]))
    except PushError as error:
        return JsonResponse({"error": str(error)}, status=400)
    return JsonResponse({"channel": channel_id, "id": sent.id, "held": sent.held})


def _page(request: HttpRequest, channel_id: str) -> dict[str, object]:
    """What the page's scripts are told."""
    return {
        "channel": channel_id,
        "url": channel_url(channel_id),
        "csrfCookie": settings.CSRF_COOKIE_NAME,
    }


def _first_error(form: VoteForm | PushForm) -> str:
    return str(next(iter(form.errors.values()))[0])


def _from_script(request: HttpRequest) -> bool:
    return not request.accepts("text/html")


def _python() -> str:
    """Name the interpreter so that the command works from the project's folder."""
    executable = Path(sys.executable)
    if executable.is_relative_to(Path.cwd()):
        return str(executable.relative_to(Path.cwd()))
    return "python"
