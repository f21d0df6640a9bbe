"""The turns module: who is called when, and what one that fails costs the others."""

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

import pytest

from pushserver.engine.turns import Turns

pytestmark = pytest.mark.asyncio


def turns() -> Turns:
    return Turns(asyncio.get_running_loop().create_task)


async def test_who_is_alone_is_called_at_once() -> None:
    """Not in the step that adds it, but before that of anybody who comes later."""
    found: list[str] = []
    some = turns()
    some.add(partial(found.append, "called"))
    asyncio.get_running_loop().call_soon(found.append, "later")
    assert found == []
    await asyncio.sleep(0)
    assert found == ["called", "later"]


async def test_one_is_called_in_a_turn_of_the_loop() -> None:
    """In the order of their coming, those included that come meanwhile."""
    found: list[str] = []
    some = turns()
    for name in "abc":
        some.add(partial(found.append, name))
    for name in "de":
        await asyncio.sleep(0)
        found.append("turn")
        some.add(partial(found.append, name))
    await asyncio.sleep(0.001)
    assert found == ["a", "turn", "b", "turn", "c", "d", "e"]


async def test_nobody_waits_for_long() -> None:
    """Where turns take long, all are called whose time has come."""
    found: list[str] = []
    some = turns()
    for name in "abcd":
        some.add(partial(found.append, name))
    await asyncio.sleep(0)
    assert found == ["a"]
    until = time.monotonic() + 0.06
    while time.monotonic() < until:
        pass  # a turn that has much to do
    some.add(partial(found.append, "new"))
    await asyncio.sleep(0)
    assert found == ["a", "b", "c", "d"]
    await asyncio.sleep(0)
    assert found == ["a", "b", "c", "d", "new"]


async def test_one_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """And the others get their turn."""
    found: list[str] = []
    some = turns()
    some.add(partial(found.remove, "a bug"))
    some.add(partial(found.append, "called"))
    await asyncio.sleep(0.001)
    assert found == ["called"]
    assert caplog.messages == ["A delivery failed"]


async def test_a_task_that_was_cancelled_is_replaced() -> None:
    """Whoever is woken may cancel what is not its own; the next one sees to all."""
    found: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    def spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(coroutine))
        return tasks[-1]

    some = Turns(spawn)

    def cancel() -> None:
        tasks[0].cancel()

    some.add(cancel)
    some.add(partial(found.append, "waiting"))
    await asyncio.sleep(0.001)
    assert tasks[0].cancelled()
    some.add(partial(found.append, "next"))
    await asyncio.sleep(0.001)
    assert found == ["waiting", "next"]
