"""The signals of a send: before it and after it, whatever becomes of it."""

import asyncio
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import override_settings

from pushserver import reach
from pushserver.exceptions import DaemonUnreachable, PushError
from pushserver.messages import Message
from pushserver.sending import asend_update, channel_info, send_message
from pushserver.signals import post_send_update, pre_send_update
from pushserver.stores.memory import MemoryStore
from tests.daemon import Daemon, connected, each_twin, send, unreachable

pytestmark = pytest.mark.usefixtures("process")


class Ears:
    """What the two signals said."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, dict[str, Any]]] = []

    def hear(self, signal: Signal, sender: Any, **kwargs: Any) -> None:
        self.heard.append((signal, kwargs | {"sender": sender}))


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    with connected(pre_send_update, ears.hear), connected(post_send_update, ears.hear):
        yield ears


@each_twin
def test_an_update_is_told_of_before_and_after(asynchronous: bool, ears: Ears) -> None:
    """Both signals have all that was passed; where no HTTP is, there is no request."""
    reach.serve_here()
    data = {"type": "x"}
    sent = send("news", data, asynchronous)
    before, after = ears.heard
    about = {
        "sender": None,
        "channel_id": "news",
        "data": data,
        "already_serialized": False,
        "request": None,
    }
    assert before == (pre_send_update, about)
    assert after == (post_send_update, about | {"response": sent})
    assert before[1]["data"] is data


@each_twin
def test_over_http_the_signals_have_the_request(
    asynchronous: bool, remote_daemon: Daemon, ears: Ears
) -> None:
    """It is the very request that is sent: a receiver may add a header."""
    sent = send("news", "{}", asynchronous, already_serialized=True)
    (_, before), (_, after) = ears.heard
    request = before["request"]
    assert isinstance(request, urllib.request.Request)
    assert request.full_url == f"http://{remote_daemon.location}/send-update/news"
    assert request.data == b"{}"
    assert after == before | {"response": sent}
    assert before["already_serialized"] is True


@each_twin
def test_the_signal_after_a_failure_has_the_exception(
    asynchronous: bool, ears: Ears
) -> None:
    """Whoever watches learns why, whether the error is ignored or not."""
    with unreachable():
        with pytest.raises(DaemonUnreachable) as caught:
            send("news", {}, asynchronous)
        send("news", {}, asynchronous, ignore_errors=True)
    responses = [about.get("response") for _, about in ears.heard]
    assert responses[:2] == [None, caught.value]
    assert isinstance(responses[3], DaemonUnreachable)


@each_twin
@pytest.mark.parametrize(
    ("channel_id", "data"),
    [("news", object()), ("..", {}), ("news", "x" * 2_000_000)],
    ids=["no JSON", "no channel id", "too big"],
)
def test_what_never_goes_out_gets_no_signal(
    channel_id: str, data: Any, asynchronous: bool, ears: Ears
) -> None:
    """An update that is refused at once was not about to be sent."""
    with pytest.raises(PushError):
        send(channel_id, data, asynchronous)
    assert ears.heard == []


class HangingStore(MemoryStore):
    """A store that never answers whoever appends to it."""

    asked = threading.Event()

    async def append(self, *args: Any, **kwargs: Any) -> Message:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


@override_settings(PUSH_SERVER={"store": {"type": f"{__name__}.HangingStore"}})
def test_a_send_that_is_cancelled_is_told_of(ears: Ears) -> None:
    """The second signal has the cancellation, and the caller gets it too."""
    reach.serve_here()

    async def cancel() -> None:
        sending = asyncio.create_task(asend_update("news", {}))
        await asyncio.to_thread(HangingStore.asked.wait, 10)
        sending.cancel()
        await sending

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    [_, (signal, about)] = ears.heard
    assert signal is post_send_update
    assert isinstance(about["response"], asyncio.CancelledError)


def failing(**kwargs: Any) -> None:
    raise LookupError("a bug in a receiver")


async def afailing(**kwargs: Any) -> None:
    raise LookupError("a bug in a receiver")


@each_twin
@pytest.mark.parametrize("signal", [pre_send_update, post_send_update])
@pytest.mark.parametrize("receiver", [failing, afailing])
def test_a_receiver_that_raises_changes_nothing(
    receiver: Callable[..., Any],
    signal: Signal,
    asynchronous: bool,
    ears: Ears,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged; the others hear, and the update is sent."""
    reach.serve_here()
    with connected(signal, receiver):
        sent = send("news", {}, asynchronous)
    info = channel_info("news")
    assert sent is not None
    assert info is not None
    assert info.last_message_id == sent.id
    assert len(ears.heard) == 2
    [record] = [r for r in caplog.records if r.name == "pushserver.signals"]
    assert record.exc_info


def test_messages_get_no_signal(ears: Ears) -> None:
    """The signals are about updates."""
    reach.serve_here()
    send_message("news", b"")
    assert ears.heard == []
