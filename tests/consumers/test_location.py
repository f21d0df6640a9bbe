"""What all our consumers share."""

import gc
from weakref import ref

import pytest

from pushserver.conf import get_config
from pushserver.consumers.endpoints import Receive, Reply, line
from pushserver.consumers.location import LocationConsumer
from tests.asgi_client import Answer, Client

ROUTE = {"args": ("other", "room"), "kwargs": {}}


class Echoing(LocationConsumer):
    """Answers with the channel and with one header of the request."""

    methods = ("GET",)

    async def respond(self, receive: Receive) -> Reply | None:
        held = self.headers  # as one that asks again after it was held for long
        self._headers = None
        assert self.headers == held
        said = self.headers.get(b"x-said", b"nothing").decode()
        return line(200, f"{self.key()[1]}: {said}")


async def ask(consumer: type[LocationConsumer], **headers: str) -> Answer:
    application = consumer.as_asgi(location=get_config().locations[0])
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    client = Client(application)
    return await client.ask("GET", "/x", headers=given, url_route=ROUTE)


async def test_the_channel_is_the_last_argument_of_the_route() -> None:
    """Routers around ours may have taken others before it."""
    answer = await ask(Echoing, x_said="hello")
    assert (answer.status, answer.body) == (200, b"room: hello\n")
    assert answer["cache-control"] == "no-store"


async def test_a_channel_that_is_given_goes_before_the_route() -> None:
    """As push_application does it, which makes no scope of its own."""
    consumer = Echoing(location=get_config().locations[0], channel_id="given")
    answer = await Client(consumer).ask("GET", "/x", url_route=ROUTE)
    assert answer.body == b"given: nothing\n"


async def test_an_answered_request_leaves_nothing_for_the_collector() -> None:
    """What was made for it is freed with the answer: there is no circle."""
    consumer = Echoing(location=get_config().locations[0], channel_id="given")
    left = ref(consumer)
    gc.disable()
    try:
        await Client(consumer).ask("GET", "/x")
        del consumer
        assert left() is None
    finally:
        gc.enable()


async def test_a_role_has_to_say_how_it_serves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The class that the roles share answers nothing by itself."""

    class Unfinished(LocationConsumer):
        methods = ("GET",)

    assert (await ask(Unfinished)).status == 500
    assert "NotImplementedError" in caplog.text
