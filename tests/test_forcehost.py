import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import override_settings

from pushserver.forcehost import ForceHost


async def site(scope, receive, send):
    await send({"type": "site", "path": scope["path"]})


async def ask(
    forced: str,
    host: bytes | None,
    *,
    path: str = "/a b",
    query: bytes = b"",
    method: str = "GET",
    kind: str = "http",
) -> dict:
    headers = [] if host is None else [(b"accept", b"*/*"), (b"host", host)]
    scope: dict[str, object] = {
        "type": kind,
        "method": method,
        "path": path,
        "headers": headers,
    }
    scope["query_string"] = query
    communicator = ApplicationCommunicator(ForceHost(site, forced), scope)
    return await communicator.receive_output()


@pytest.mark.parametrize(
    ("forced", "asked"),
    [
        ("example.com", b"example.com"),
        ("example.com", b"Example.com:8000"),
        ("Example.com:8000", b"example.COM:8000"),
        ("[::1]", b"[::1]:8000"),
        ("[::1]:8000", b"[::1]:8000"),
    ],
)
async def test_forced_host(forced, asked):
    """Requests for the host get through, on any port if it was given without."""
    assert await ask(forced, asked) == {"type": "site", "path": "/a b"}


@pytest.mark.parametrize(
    ("forced", "asked"),
    [
        ("example.com", b"www.example.com"),
        ("example.com", b"127.0.0.1:8000"),
        ("example.com", None),
        ("example.com:8000", b"example.com"),
        ("example.com:8000", b"example.com:9000"),
        ("[::1]", b"[::2]"),
    ],
)
async def test_other_host(forced, asked):
    """Requests for any other host are sent to it for good, path and query kept."""
    answer = await ask(forced, asked, query=b"c=d%20e")
    assert answer["status"] == 301
    location = dict(answer["headers"])[b"location"].decode()
    assert location == f"http://{forced}/a%20b?c=d%20e"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 301), ("POST", 308)])
async def test_method_is_kept(method, status):
    """A POST stays a POST at the new host."""
    answer = await ask("example.com", b"other", method=method)
    assert answer["status"] == status


async def test_no_way_out():
    """A path that looks like another host's URL leads to the forced host."""
    answer = await ask("example.com", b"other", path="//evil.example/")
    location = dict(answer["headers"])[b"location"]
    assert location.startswith(b"http://example.com/")


async def test_https_behind_a_proxy():
    """SECURE_PROXY_SSL_HEADER decides about the scheme, as everywhere in Django."""
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_HOST", "other")):
        answer = await ask("example.com", b"other")
    assert dict(answer["headers"])[b"location"] == b"https://example.com/a%20b"


async def test_websocket():
    """A WebSocket is not redirected: browsers would not follow."""
    assert (await ask("example.com", b"other", kind="websocket"))["type"] == "site"
