"""The project's middleware around the place of a view: what comes out for a poll."""

import asyncio
import copy
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction, sync_to_async
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import connections
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.test import RequestFactory, override_settings
from django.urls import get_script_prefix, get_urlconf, set_urlconf
from django.utils import timezone, translation

from pushserver.chain import PollHandler
from pushserver.requests import settled, through_middleware

HERE = __name__
USUAL = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
EVERYTHING = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    *(name for name in USUAL if "Session" not in name),
    "django.middleware.cache.FetchFromCacheMiddleware",
]
NEEDS_APPS = ("sites", "flatpages", "redirects")


def a_scope(path: str = "/updates/room", **changes: Any) -> dict[str, Any]:
    """What a server passes for a poll."""
    headers = {"host": "testserver", **changes.pop("headers", {})}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8001),
        **changes,
    }


async def ask(**changes: Any) -> HttpRequest:
    request = await through_middleware(a_scope(**changes))
    assert isinstance(request, HttpRequest), request
    return request


async def answer(**changes: Any) -> HttpResponse:
    response = await through_middleware(a_scope(**changes))
    assert isinstance(response, HttpResponse), response
    return response


# Middleware of a project


class Step:
    """What a sync middleware does; the subclasses below say what."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)


class AsyncStep:
    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        await asyncio.sleep(0)
        request.seen = [*getattr(request, "seen", []), "async"]
        return await self.get_response(request)


class SyncStep(Step):
    def __call__(self, request: Any) -> Any:
        request.seen = [*getattr(request, "seen", []), "sync"]
        return self.get_response(request)


class WritesSession(Step):
    def __call__(self, request: Any) -> Any:
        request.session["polls"] = 1
        response = self.get_response(request)
        response.set_cookie("tracking", "1")
        return response


class Redirects(Step):
    def __call__(self, request: Any) -> Any:
        return HttpResponseRedirect("/elsewhere/")


class RedirectsAfter(Step):
    def __call__(self, request: Any) -> Any:
        self.get_response(request)
        return HttpResponseRedirect("/two-factor/")


class Copies(Step):
    def __call__(self, request: Any) -> Any:
        return copy.copy(self.get_response(request))


class Rebuilds(Step):
    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        return HttpResponse(
            b"<!-- seen -->" + response.content, status=response.status_code
        )


class Streams(Step):
    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        return StreamingHttpResponse([response.content], status=response.status_code)


class ErrorPages(Step):
    """Replaces a 500 by a page of the project's own."""

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        if response.status_code == 500:
            return HttpResponse("<h1>Oh no</h1>", status=503)
        return response


class Answers500(Step):
    def __call__(self, request: Any) -> Any:
        return HttpResponse("down for today", status=500)


class RaisesBefore(Step):
    def __call__(self, request: Any) -> Any:
        raise ValueError("the middleware broke")


class RaisesAfter(Step):
    def __call__(self, request: Any) -> Any:
        self.get_response(request)
        raise ValueError("the middleware broke")


class RaisesInView(Step):
    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        raise ValueError("the middleware broke")


class RaisesAsync(AsyncStep):
    async def __call__(self, request: Any) -> Any:
        raise ValueError("the middleware broke")


class ReturnsNothing(Step):
    def __call__(self, request: Any) -> Any:
        return None


class CannotBeMade(Step):
    def __init__(self, get_response: Any) -> None:
        raise ValueError("the middleware broke")


class Forbids(Step):
    def __call__(self, request: Any) -> Any:
        raise PermissionDenied


class Refuses(Step):
    def __call__(self, request: Any) -> Any:
        raise BadRequest("the secret is 4711")


class Misses(Step):
    def __call__(self, request: Any) -> Any:
        raise Http404


class Answers400(Step):
    def __call__(self, request: Any) -> Any:
        return HttpResponse("which tenant?", status=400)


class LooksAtTheView(Step):
    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        request.view = (view, args, kwargs, request.resolver_match)
        request.urlconf_there = get_urlconf()


class OtherUrlconf(Step):
    def __call__(self, request: Any) -> Any:
        request.urlconf = HERE
        return self.get_response(request)


class ChangesContext(Step):
    def __call__(self, request: Any) -> Any:
        translation.activate("de")
        timezone.activate("Asia/Tokyo")
        request.prefix_there = get_script_prefix()
        request.urlconf_there = get_urlconf()
        return self.get_response(request)


class CountsItself(Step):
    made: list[threading.Thread] = []

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        # The database may be used here: this is no event loop.
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
        self.made.append(threading.current_thread())


class Waits(Step):
    entered = threading.Event()
    leave = threading.Event()
    left = threading.Event()

    def __call__(self, request: Any) -> Any:
        self.entered.set()
        self.leave.wait(10)
        self.left.set()
        return self.get_response(request)


class WaitsForEver(AsyncStep):
    entered: asyncio.Event

    async def __call__(self, request: Any) -> Any:
        self.entered.set()
        await asyncio.Event().wait()


class Closes(Step):
    closed: list[str] = []

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response._resource_closers.append(lambda: self.closed.append("closed"))
        return response


urlpatterns: list[Any] = []


@pytest.fixture
def finished() -> Iterator[list[str]]:
    """The starts and ends of requests that Django's signals tell of."""
    seen: list[str] = []

    def start(sender: Any, **kwargs: Any) -> None:
        assert sender is PollHandler
        seen.append("started")

    def end(sender: Any, **kwargs: Any) -> None:
        assert sender is PollHandler
        seen.append("finished")

    request_started.connect(start)
    request_finished.connect(end)
    yield seen
    request_started.disconnect(start)
    request_finished.disconnect(end)


# The request


@override_settings(MIDDLEWARE=USUAL)
async def test_the_request_is_the_polls_own() -> None:
    """Method, path, query, headers, cookies and the client's address are the poll's."""
    request = await ask(
        path="/updates/r\u00f6m",
        query_string=b"since=1-0",
        headers={"cookie": "a=1; b=2", "x-tab": "7", "content-length": "99999999999"},
    )
    assert request.method == "GET"
    assert request.path == request.path_info == "/updates/r\u00f6m"
    assert request.GET["since"] == "1-0"
    assert request.headers["X-Tab"] == "7"
    assert request.COOKIES == {"a": "1", "b": "2"}
    assert request.META["REMOTE_ADDR"] == "192.0.2.7"
    assert request.get_host() == "testserver"
    assert "CONTENT_LENGTH" not in request.META
    assert request.body == b""
    assert not request.POST


@override_settings(MIDDLEWARE=USUAL)
async def test_another_method_is_seen_as_get() -> None:
    """Middleware that guards POST has nothing to object to."""
    request = await ask(method="POST")
    assert request.method == "GET"


@override_settings(MIDDLEWARE=USUAL)
async def test_the_user_is_the_one_who_polls(login: str) -> None:
    """Async code gets the logged-in user from the request."""
    request: Any = await ask(headers={"cookie": login})
    assert (await request.auser()).username == "ada"
    await close_our_connections()


async def close_our_connections() -> None:
    """The test's own use of the database was outside of the module under test."""
    await sync_to_async(connections.close_all)()


@override_settings(MIDDLEWARE=[f"{HERE}.LooksAtTheView"])
async def test_process_view_runs_with_a_view_and_a_match() -> None:
    """A process_view hook sees a view, the arguments of the URL and a match."""
    route = {"args": (), "kwargs": {"channel_id": "room"}}
    request: Any = await ask(url_route=route)
    view, args, kwargs, match = request.view
    assert view.csrf_exempt
    assert view.__name__ == "poll"
    assert (args, kwargs) == ((), {"channel_id": "room"})
    assert match is request.resolver_match
    assert match.view_name == "pushserver:poll"
    assert match.func is view
    assert request.urlconf_there == "tests.settings"


@override_settings(MIDDLEWARE=[f"{HERE}.OtherUrlconf", f"{HERE}.LooksAtTheView"])
async def test_a_middleware_may_set_the_urlconf() -> None:
    """reverse() in process_view uses the URLconf that a middleware chose."""
    request: Any = await ask()
    assert request.urlconf_there == HERE


@pytest.mark.parametrize(
    "steps",
    [
        ["SyncStep", "AsyncStep", "SyncStep"],
        ["AsyncStep", "SyncStep", "AsyncStep"],
        ["SyncStep"],
        ["AsyncStep"],
    ],
)
async def test_sync_and_async_middleware_mix(steps: list[str]) -> None:
    """Middleware that is only sync or only async works in any order."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}" for step in steps]):
        request: Any = await ask()
    assert request.seen == [step.removesuffix("Step").lower() for step in steps]


@override_settings(MIDDLEWARE=[])
async def test_no_middleware_at_all() -> None:
    """A project without middleware gets the plain request."""
    request = await ask()
    assert not hasattr(request, "user")


# What middleware puts on the marker


@override_settings(
    MIDDLEWARE=[*USUAL, f"{HERE}.WritesSession"], SESSION_SAVE_EVERY_REQUEST=True
)
async def test_the_session_is_not_saved(login: str) -> None:
    """A poll writes no session, whatever middleware put into it."""

    def stored() -> dict[str, Any]:
        try:
            return Session.objects.get().get_decoded()
        finally:
            connections.close_all()

    request: Any = await ask(headers={"cookie": login})
    assert request.session.modified
    assert "polls" not in await sync_to_async(stored)()


@override_settings(
    MIDDLEWARE=[name for name in EVERYTHING if not any(a in name for a in NEEDS_APPS)],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    LANGUAGES=[("de", "German"), ("en", "English")],
)
async def test_the_marker_passes_all_of_djangos_middleware(login: str) -> None:
    """Nothing is cached, compared with the cursor, compressed or redirected."""
    for _ in range(2):
        request: Any = await ask(
            path="/de/updates/room",
            headers={
                "cookie": login,
                "if-none-match": "*",
                "if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT",
                "accept-encoding": "gzip",
                "accept-language": "de",
                "referer": "http://testserver/",
            },
        )
    assert request.LANGUAGE_CODE == "de"
    assert caches["default"]._cache == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", ["Copies", "Rebuilds", "Streams", "ErrorPages"])
async def test_the_marker_is_known_again(step: str) -> None:
    """A middleware may wrap or rebuild every response and the poll still passes."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}"]):
        assert (await ask()).path == "/updates/room"


async def test_the_marker_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A poll that passes leaves no line in the log."""
    with override_settings(MIDDLEWARE=[f"{HERE}.Rebuilds"]), caplog.at_level("INFO"):
        await ask()
    assert caplog.record_tuples == []


async def test_atomic_requests_do_not_matter() -> None:
    """ATOMIC_REQUESTS, which Django refuses for async views, stops no poll."""
    database = connections.settings["default"]
    database["ATOMIC_REQUESTS"] = True
    try:
        with override_settings(MIDDLEWARE=[]):
            await ask()
    finally:
        database["ATOMIC_REQUESTS"] = False


# Answers


@pytest.mark.parametrize(
    ("step", "target"),
    [("Redirects", "/elsewhere/"), ("RedirectsAfter", "/two-factor/")],
)
async def test_an_answer_of_a_middleware_is_returned(step: str, target: str) -> None:
    """What a middleware answers, before or after the view, is for the client."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}"]):
        response = await answer()
    assert (response.status_code, response["Location"]) == (302, target)


@override_settings(
    MIDDLEWARE=[*USUAL, "django.contrib.auth.middleware.LoginRequiredMiddleware"],
    LOGIN_URL="/login/",
)
async def test_login_required_answers_strangers(login: str) -> None:
    """LoginRequiredMiddleware sends strangers to the login and lets users pass."""
    response = await answer()
    assert response.status_code == 302
    assert response["Location"] == "/login/?next=/updates/room"
    request = await ask(headers={"cookie": login})
    assert request.path == "/updates/room"


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "step", ["RaisesBefore", "RaisesAfter", "RaisesInView", "RaisesAsync"]
)
async def test_a_middleware_that_raises_is_one_line(
    step: str, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 500 and one plain line, the log the traceback, once."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}"], DEBUG=debug):
        response = await answer(headers={"accept": "text/html"})
    assert response.status_code == 500
    assert response.content == b"Internal Server Error\n"
    assert response["Content-Type"] == "text/plain"
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.name == "django.request"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_failing_view_of_the_site_is_none_of_ours() -> None:
    """Errors of the site's other requests are left to Django."""
    request = RequestFactory().get("/")
    got_request_exception.send(sender=None, request=request)
    got_request_exception.send(sender=None)
    assert not hasattr(request, "failed")


async def test_an_error_page_of_the_project_becomes_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A middleware that makes a page of another one's 500 does not hide it."""
    steps = [f"{HERE}.ErrorPages", f"{HERE}.RaisesBefore"]
    with override_settings(MIDDLEWARE=steps):
        response = await answer()
    assert (response.status_code, response.content) == (500, b"Internal Server Error\n")
    assert "the middleware broke" in caplog.text


async def test_a_500_on_purpose_is_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A 500 that a middleware returns without raising is left as it is."""
    with override_settings(MIDDLEWARE=[f"{HERE}.Answers500"]):
        response = await answer()
    assert (response.status_code, response.content) == (500, b"down for today")
    assert "Internal Server Error: /updates/room" in caplog.text


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("RaisesBefore", {"DEBUG_PROPAGATE_EXCEPTIONS": True}),
        ("ReturnsNothing", {}),
        ("CannotBeMade", {}),
        ("DoesNotExist", {}),
    ],
)
async def test_what_no_middleware_catches_is_one_line_too(
    step: str, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Errors outside of Django's own safety net are logged and answered alike."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}"], **changes):
        response = await answer()
    assert (response.status_code, response.content) == (500, b"Internal Server Error\n")
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.name == "django.request"
    assert record.exc_info


@pytest.mark.parametrize("debug", [False, True])
@override_settings(MIDDLEWARE=USUAL)
async def test_a_host_that_is_not_allowed_is_one_line(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A Host outside of ALLOWED_HOSTS gets 400, and Django's security log says so."""
    with override_settings(DEBUG=debug):
        response = await answer(headers={"host": "evil.example"})
    assert response.status_code == 400
    assert response.content == b"This Host is not in ALLOWED_HOSTS\n"
    assert "django.security.DisallowedHost" in {r.name for r in caplog.records}


@pytest.mark.parametrize("debug", [False, True])
async def test_a_refusal_tells_nothing(debug: bool) -> None:
    """A middleware that raises BadRequest shows neither traceback nor its message."""
    with override_settings(MIDDLEWARE=[f"{HERE}.Refuses"], DEBUG=debug):
        response = await answer()
    assert response.status_code == 400
    assert b"4711" not in response.content
    assert b"Traceback" not in response.content


@pytest.mark.parametrize(
    ("step", "status"), [("Forbids", 403), ("Misses", 404), ("Answers400", 400)]
)
async def test_other_refusals_keep_their_status(
    step: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """PermissionDenied and its like are answers, logged as Django logs them."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}"]):
        response = await answer()
    assert response.status_code == status
    assert "/updates/room" in caplog.text


async def test_a_query_that_is_no_utf8_is_one_line() -> None:
    """Bytes that Django cannot decode get 400, not an exception."""
    response = await answer(query_string=b"since=\xff")
    assert (response.status_code, response.content) == (
        400,
        b"The query string is not UTF-8\n",
    )


# The chain and its surroundings


async def test_the_chain_is_made_once_for_each_settings(database: None) -> None:
    """Middleware is made for the first poll, not for each, and outside of the loop."""
    CountsItself.made.clear()
    with override_settings(MIDDLEWARE=[f"{HERE}.CountsItself"]):
        await asyncio.gather(*(ask() for _ in range(4)))
        await ask()
        assert len(CountsItself.made) == 1
        with override_settings(ROOT_URLCONF=HERE):
            await ask()
        assert len(CountsItself.made) == 2
    assert threading.current_thread() not in CountsItself.made


@override_settings(MIDDLEWARE=[f"{HERE}.ChangesContext"])
async def test_what_middleware_activates_ends_with_it() -> None:
    """Language, time zone, URLconf and script prefix of the caller stay put."""
    set_urlconf(HERE)
    before = (
        translation.get_language(),
        timezone.get_current_timezone_name(),
        get_urlconf(),
        get_script_prefix(),
    )
    request: Any = await ask(path="/site/updates/room", root_path="/site")
    assert request.prefix_there == "/site/"
    assert request.urlconf_there == "tests.settings"
    assert request.path_info == "/updates/room"
    assert before == (
        translation.get_language(),
        timezone.get_current_timezone_name(),
        get_urlconf(),
        get_script_prefix(),
    )


@override_settings(MIDDLEWARE=USUAL)
async def test_a_pass_is_a_request_to_django(finished: list[str]) -> None:
    """What libraries hang on a request's start and end runs for a pass, too."""
    await ask()
    assert finished == ["started", "finished"]


@pytest.mark.parametrize("step", ["Redirects", "RaisesBefore"])
async def test_an_answer_is_finished_by_who_sends_it(
    step: str, finished: list[str]
) -> None:
    """A request that gets an answer ends when that is closed, as in Django."""
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}"]):
        response: HttpResponseBase = await answer()
    assert finished == ["started"]
    response.close()
    assert finished == ["started", "finished"]


@override_settings(MIDDLEWARE=[f"{HERE}.Waits"])
async def test_a_pass_can_be_cancelled(finished: list[str]) -> None:
    """A poll that is cancelled stops at once; the pass tidies up behind it."""
    Waits.entered.clear()
    Waits.leave.clear()
    Waits.left.clear()
    poll = asyncio.create_task(through_middleware(a_scope()))
    await asyncio.to_thread(Waits.entered.wait, 10)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    assert not Waits.left.is_set()
    Waits.leave.set()
    await settled()
    assert finished == ["started", "finished"]


@override_settings(MIDDLEWARE=[f"{HERE}.WaitsForEver"])
async def test_a_cancelled_pass_goes_no_further(finished: list[str]) -> None:
    """Async middleware is told that the poll was cancelled."""
    WaitsForEver.entered = asyncio.Event()
    poll = asyncio.create_task(through_middleware(a_scope()))
    await WaitsForEver.entered.wait()
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await settled()  # would never end
    assert finished == ["started", "finished"]


@pytest.mark.parametrize("steps", [["Closes"], ["Closes", "RaisesBefore"]])
async def test_what_a_response_must_close_is_closed(steps: list[str]) -> None:
    """Resources of a response that nobody gets to see are freed all the same."""
    Closes.closed.clear()
    with override_settings(MIDDLEWARE=[f"{HERE}.{step}" for step in steps]):
        result: Any = await through_middleware(a_scope())
    if isinstance(result, HttpResponseBase):
        assert Closes.closed == []
        result.close()
    assert Closes.closed == ["closed"]


def test_it_works_below_async_to_sync() -> None:
    """Sync code, a test for one, can ask as well."""
    with override_settings(MIDDLEWARE=USUAL):
        request = async_to_sync(through_middleware)(a_scope())
    assert isinstance(request, HttpRequest)
