import asyncio
from typing import Any

import pytest

from demo.presence import GRACE, PAUSE, Presence


class People:
    """A presence, and what it has announced as {name: pages}."""

    def __init__(self) -> None:
        self.announced: list[dict[str, int]] = []
        self.presence = Presence(self.send)

    async def send(self, update: dict[str, Any]) -> None:
        assert update["type"] == "presence"
        self.announced.append(pages(update))


def pages(update: dict[str, Any]) -> dict[str, int]:
    users = {user["name"]: user["pages"] for user in update["users"]}
    return users | ({"": update["guests"]} if update["guests"] else {})


@pytest.fixture
def people() -> People:
    return People()


async def test_pages_are_counted_by_user(people: People):
    """Each page of a user counts, and so do those of guests."""
    for name in ["ada", "", "ada", ""]:
        people.presence.arrived(name)
    assert pages(people.presence.update) == {"ada": 2, "": 2}


async def test_many_arrivals_are_one_announcement(people: People):
    """Pages that come at once are announced together."""
    for _ in range(50):
        people.presence.arrived("ada")
    await asyncio.sleep(PAUSE * 2)
    assert people.announced == [{"ada": 50}]


async def test_a_poll_that_returns_is_no_news(people: People):
    """A page whose polls end and begin again was there all the time."""
    people.presence.arrived("ada")
    await asyncio.sleep(PAUSE * 2)
    for _ in range(10):
        people.presence.left("ada")
        await asyncio.sleep(GRACE * 0.9)
        people.presence.arrived("ada")
    await asyncio.sleep(GRACE * 2)
    assert people.announced == [{"ada": 1}]


async def test_a_page_that_stays_away_is_gone(people: People):
    """When no poll has begun again for a while, the others hear of it."""
    people.presence.arrived("ada")
    people.presence.arrived("ada")
    people.presence.left("ada")
    await asyncio.sleep(GRACE / 2)
    assert pages(people.presence.update) == {"ada": 2}
    people.presence.left("ada")
    await asyncio.sleep(GRACE * 0.75)
    assert pages(people.presence.update) == {"ada": 1}
    await asyncio.sleep(GRACE)
    assert people.announced == [{"ada": 2}, {"ada": 1}, {}]


async def test_a_login_in_an_open_page_moves_it(people: People):
    """A poll that comes back under another name is counted under that one."""
    people.presence.arrived("")
    people.presence.left("")
    people.presence.arrived("ada")
    await asyncio.sleep(GRACE * 2)
    assert people.announced == [{"": 1, "ada": 1}, {"ada": 1}]


async def test_an_announcement_tells_the_present(people: People):
    """What happens in the pause before an announcement is part of it."""
    people.presence.arrived("ada")
    await asyncio.sleep(PAUSE / 2)
    people.presence.arrived("bob")
    await asyncio.sleep(PAUSE)
    assert people.announced == [{"ada": 1, "bob": 1}]
    assert pages(people.presence.update) == {"ada": 1, "bob": 1}
