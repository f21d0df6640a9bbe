"""All readers of one event loop, and of several."""

import asyncio
import os
import threading
import time
import warnings

import pytest
from django.test import override_settings

from pushserver.conf import get_config
from pushserver.engine import publishing, subscriptions
from pushserver.engine.hub import hub_of, running_hubs
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Ending
from pushserver.messages import Message
from tests.readers import KEY, Reader, publish, serving


async def test_draining_ends_all_waits_and_every_later_one():
    """What is there is still delivered."""
    async with serving() as running:
        reader = Reader(running)
        async with reader.holding() as poll:
            subscriptions.drain()
            assert await poll is Ending.SHUTDOWN
        assert await reader.poll() is Ending.SHUTDOWN
        message = await publish()
        assert await reader.poll() == message


def test_a_loop_that_ends_without_closing_leaves_nothing():
    """Whether its tasks ever ran or not."""
    before = dict(subscriptions._by_loop)

    async def glance() -> None:
        subscriptions.current()
        assert hub_of(asyncio.get_running_loop())

    async def read() -> None:
        await Reader(subscriptions.current()).poll(timeout=0.01)

    for main in (glance, read):
        thread = threading.Thread(target=lambda: asyncio.run(main()))  # noqa: B023
        thread.start()
        thread.join()
        assert subscriptions._by_loop == before
        assert running_hubs() == []


@pytest.mark.real_time
async def test_loops_of_one_process_are_told_of_each_others_messages():
    """At once, over an in-memory layer that knows nothing of the other loop."""
    parked = threading.Event()
    answers: list[tuple[Message | Ending, float]] = []

    async def read() -> None:
        running = subscriptions.current()
        reader = Reader(running)
        async with reader.holding(timeout=10) as poll:
            loop.call_soon_threadsafe(parked.set)
            answers.append((await poll, time.monotonic()))
        await running.close()

    loop = asyncio.get_running_loop()
    with override_settings(PUSH_SERVER={"resync": 60}):
        running = subscriptions.current()
        thread = threading.Thread(target=lambda: asyncio.run(read()))
        thread.start()
        await asyncio.to_thread(parked.wait, 10)
        published = await publishing.publish(KEY, body=b"x", max_body=10)
        sent_at = time.monotonic()
        await asyncio.to_thread(thread.join, 10)
        await running.close()
    [(answer, heard_at)] = answers
    assert answer == published.message
    assert published.held == 1
    assert heard_at - sent_at < 5


async def test_a_forked_child_has_no_subscriptions():
    """The loops of its parent are not its own."""
    async with serving():
        read_end, write_end = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads run
            child = os.fork()
        if child == 0:
            nothing = not subscriptions._by_loop and not running_hubs()
            os.write(write_end, b"nothing" if nothing else b"something")
            os._exit(0)
        os.close(write_end)
        assert os.read(read_end, 20) == b"nothing"
        os.close(read_end)
        os.waitpid(child, 0)  # noqa: ASYNC222 (it has said its last word)
        assert len(running_hubs()) == 1


async def test_one_for_each_loop():
    """Made at the first call, made again after closing."""
    async with serving() as running:
        assert subscriptions.current() is running
        assert hub_of(running.hub.loop) is running.hub
        await running.close()
        again = subscriptions.current()
        assert again is not running
        await running.close()
        assert subscriptions.current() is again
        await again.close()


async def test_one_made_by_hand_is_not_that_of_the_loop():
    """Its end does not take the registered one away."""
    async with serving() as running:
        other = Subscriptions(get_config())
        await asyncio.sleep(0)  # so that its tasks begin
        await other.close()
        assert subscriptions.current() is running
