"""The long poll of many channels, in process."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pushserver.engine import subscriptions
from pushserver.requests import settled
from tests.asgi_client import Answer, Client, Exchange
from tests.consumers.test_eventstreams import heard
from tests.faults import RemoteStore
from tests.push_site import STREAM, held, publish, site

__all__ = ["heard"]

Serve = Callable[..., Client]
PAGE = "https://page.example"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one location of each type with these settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(site(**settings))


def body_of(*names: str, urls: tuple[str, ...] = (), **since: Any) -> bytes:
    channels: dict[str, Any] = {name: {} for name in names}
    channels |= {name: {"since": cursor} for name, cursor in since.items()}
    return json.dumps({"channels": channels, "urls": {u: {} for u in urls}}).encode()


async def ask(client: Client, body: bytes, **kwargs: Any) -> Answer:
    return await client.ask("POST", "/updates", body, **kwargs)


async def poll(client: Client, *names: str, **since: Any) -> list[dict[str, Any]]:
    answer = await ask(client, body_of(*names, **since))
    assert (answer.status, answer["content-type"]) == (200, "application/json")
    found: list[dict[str, Any]] = json.loads(answer.body)
    return found


async def hold(client: Client, *names: str, **since: Any) -> Exchange:
    exchange = client.open("POST", "/updates", body_of(*names, **since))
    return await exchange.held()


def texts(entries: list[dict[str, Any]], **name: str) -> list[str]:
    return [e["text"] for e in entries if "text" in e and name.items() <= e.items()]


async def test_all_that_waits_is_one_answer(serve: Serve) -> None:
    """Of every channel, in its order, and nothing of those where nothing waits."""
    client = serve()
    for n in range(3):
        await publish(client, f"a{n}", "a")
        await publish(client, f"b{n}", "b")
    entries = await poll(client, "a", "b", "c")
    assert texts(entries, channel="a") == ["a0", "a1", "a2"]
    assert texts(entries, channel="b") == ["b0", "b1", "b2"]
    assert len(entries) == 6


async def test_a_reader_goes_on_by_the_ids(serve: Serve) -> None:
    """Each message once, over polls, whatever came in between."""
    client = serve()
    cursors: dict[str, Any] = {"a": "0", "b": "0"}
    got: list[str] = []
    for n in range(5):
        await publish(client, f"a{n}", "a")
        await publish(client, f"b{n}", "b")
        for entry in await poll(client, **cursors):
            cursors[entry["channel"]] = entry["id"]
            got.append(entry["text"])
    assert got == [f"{channel}{n}" for n in range(5) for channel in "ab"]


async def test_it_is_held_until_something_comes(serve: Serve) -> None:
    """On any channel; it counts as a reader of all of them meanwhile."""
    client = serve()
    exchange = await hold(client, "a", "b")
    assert [await held(client, name) for name in "ab"] == [1, 1]
    await publish(client, "x", "b")
    [entry] = json.loads((await exchange.answered()).body)
    assert (entry["channel"], entry["text"]) == ("b", "x")
    assert [await held(client, name) for name in "ab"] == [0, 0]


async def test_at_the_end_of_its_time_it_tells_new_positions(serve: Serve) -> None:
    """Only those that differ from what the client has."""
    loop = asyncio.get_running_loop()
    client = serve(subscriber={"first_message": "newest"})
    last = await publish(client, "x", "a")
    began = loop.time()
    entries = await poll(client, "a", b="0-0")
    assert 19 < loop.time() - began < 26
    assert entries == [{"channel": "a", "id": last}]
    assert await poll(client, a=last) == []


async def test_a_channel_that_is_refused_does_not_stop_the_others(serve: Serve) -> None:
    """It is told at once, with what waits elsewhere."""
    client = serve()
    await publish(client, "x", "a")
    asked = {"channels": {"a": {}, "": {}, "b": {"since": "x"}}, "urls": {"/no": {}}}
    entries = json.loads((await ask(client, json.dumps(asked).encode())).body)
    errors = {e.get("channel", e.get("url")): e.get("error") for e in entries}
    assert errors == {"": 400, "b": 400, "/no": 404, "a": None}


async def test_a_deletion_is_told_of_that_channel(serve: Serve) -> None:
    """As 410, to who is held."""
    client = serve()
    exchange = await hold(client, "a", "b")
    await client.ask("DELETE", "/send-update/a")
    [entry] = json.loads((await exchange.answered()).body)
    assert (entry["channel"], entry["error"]) == ("a", 410)


async def test_a_loss_is_told_of_that_channel(serve: Serve) -> None:
    """With the first message that is left, or alone where there is none."""
    client = serve(store={"type": "tests.faults.VirtualStore", "message_timeout": 1})
    first = {name: await publish(client, "x", name) for name in "ab"}
    await publish(client, "y", "a")
    last = await publish(client, "y", "b")
    await asyncio.sleep(2)
    await publish(client, "z", "a")
    await publish(client, "z", "a")
    entries = await poll(client, **first)
    assert [entry.get("gap") for entry in entries] == [True, None, True]
    assert entries[2] == {"channel": "b", "id": last, "gap": True}


async def test_no_answer_is_bigger_than_it_may_be(serve: Serve) -> None:
    """But for one message; the rest comes with the next poll."""
    client = serve(multiplex={"max_answer": 1000})
    for n in range(20):
        await publish(client, f"{n:0200}", "a")
    await publish(client, "y" * 5000, "b")
    cursors: dict[str, Any] = {"a": "0", "b": "0"}
    got: list[str] = []
    for _ in range(30):
        answer = await ask(client, body_of(**cursors))
        entries = json.loads(answer.body)
        assert len(answer.body) < 1400 or len(entries) == 1
        for entry in entries:
            cursors[entry["channel"]] = entry["id"]
            got.append(entry["text"])
        if len(got) == 21:
            break
    assert sorted(got) == sorted([f"{n:0200}" for n in range(20)] + ["y" * 5000])


async def test_a_thousand_channels_on_one_request(serve: Serve) -> None:
    """Are opened in well under a second; one more is too many."""
    client = serve()
    names = [f"c{n}" for n in range(1000)]
    began = time.perf_counter()
    exchange = await hold(client, *names)
    assert time.perf_counter() - began < 2  # 0.16 s alone on a quiet core
    assert subscriptions.current().statistics().held == 1000
    await publish(client, "x", "c999")
    assert b'"c999"' in (await exchange.answered()).body
    assert subscriptions.current().statistics().held == 0
    answer = await ask(client, body_of(*names, "another"))
    assert (answer.status, answer.body.count(b"\n")) == (400, 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b"{}", 400), (b"x" * 2000, 413)],
)
async def test_a_bad_request_is_one_line(
    serve: Serve, body: bytes, status: int
) -> None:
    """It names what is wrong."""
    client = serve(multiplex={"max_request": 1000})
    answer = await ask(client, body)
    assert (answer.status, answer.body.count(b"\n")) == (status, 1)


async def test_other_methods_are_405(serve: Serve) -> None:
    """There is nothing to GET."""
    answer = await serve().ask("GET", "/updates")
    assert (answer.status, answer["allow"]) == (405, "POST, OPTIONS")


async def test_transports_of_a_multiplex_location(serve: Serve) -> None:
    """What is not offered is 406."""
    client = serve(multiplex={"transports": ["websocket"]})
    assert (await ask(client, body_of("a"))).status == 406
    assert (await ask(client, body_of("a"), headers=STREAM)).status == 406


async def test_pages_of_other_origins_read_where_they_may(serve: Serve) -> None:
    """By the headers of CORS, with a preflight for those who ask."""
    client = serve(multiplex={"allow_origin": PAGE})
    await publish(client, "x", "a")
    answer = await ask(client, body_of("a"), headers={"origin": PAGE})
    assert answer["access-control-allow-origin"] == PAGE
    answer = await client.ask("OPTIONS", "/updates", headers={"origin": PAGE})
    assert answer.status == 204
    assert answer["access-control-allow-methods"] == "POST, OPTIONS"


async def test_a_channel_url_says_where_many_are_read(serve: Serve) -> None:
    """Below the script prefix, and pages of other origins get to see it."""
    client = serve(subscriber={"allow_origin": PAGE}, multiplex={"url": "/many"})
    scope = {"headers": {"origin": PAGE}, "root_path": "/mounted"}
    answer = await client.ask("OPTIONS", "/mounted/updates/a", **scope)
    assert answer["x-push-multiplex"] == "/mounted/many"
    exposed = answer["access-control-expose-headers"] or ""
    assert "X-Push-Multiplex" in exposed


async def test_receivers_are_told_of_each_channel_that_is_held(
    serve: Serve, heard: list[str]
) -> None:
    """One subscribe and one unsubscribe each; none where nothing was waited for."""
    client = serve()
    await publish(client, "x", "c")
    await poll(client, "a", "c")
    await settled()
    assert heard == []
    exchange = await hold(client, "a", "b")
    await settled()
    assert heard == ["+a", "+b"]
    exchange.leave()
    await exchange.task
    await settled()
    assert heard == ["+a", "+b", "-a", "-b"]


async def test_a_shutdown_answers_it(serve: Serve) -> None:
    """With 503 and when to come back, whether it waits or only comes."""
    client = serve()
    exchange = await hold(client, "a", "b")
    subscriptions.drain()
    answer = await exchange.answered()
    assert (answer.status, answer["retry-after"] is None) == (503, False)
    assert (await ask(client, body_of("a"))).status == 503


async def test_a_deletion_in_a_shutdown_is_still_a_shutdown(serve: Serve) -> None:
    """What ends for good is found out by the next poll, on another server."""
    client = serve()
    exchange = await hold(client, "a")
    await client.ask("DELETE", "/send-update/a")
    await exchange.answered()


async def test_cancellation_answers_it_too(serve: Serve) -> None:
    """As plain daphne stops."""
    exchange = await hold(serve(), "a")
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert exchange.answer.status == 503


async def test_a_store_that_is_down_is_told_of_its_channels(serve: Serve) -> None:
    """All of them, after one time-out and not one after another."""
    loop = asyncio.get_running_loop()
    other = {"type": "subscriber", "prefix": "/other/", "store": "other"}
    stores = {"default": {"type": "tests.faults.RemoteStore"}, "other": {}}
    client = serve(locations=(other,), store=stores)
    await hold_and_leave(client)
    store = subscriptions.current().live(("default", "a"))._store
    assert isinstance(store, RemoteStore)
    store.read_lag = 60
    began = loop.time()
    urls = tuple(f"/updates/{n}" for n in range(200))
    answer = await ask(client, body_of(urls=(*urls, "/other/x")))
    assert loop.time() - began < 10
    errors = [entry["error"] for entry in json.loads(answer.body)]
    assert errors == [503] * 200


async def hold_and_leave(client: Client) -> None:
    exchange = client.open("POST", "/updates", body_of(urls=("/updates/a",)))
    await exchange.held()
    exchange.leave()
    await exchange.task
