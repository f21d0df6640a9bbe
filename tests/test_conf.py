"""The settings as a Config: defaults, what is accepted, when they are read."""

import ast
import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pushserver.conf import Config, Host, StoreConfig, get_config, problems
from tests.e2e.predecessor import PUSH_SERVER
from tests.reference import tables


def config(**push_server: Any) -> Config:
    with override_settings(PUSH_SERVER=push_server):
        return get_config()


def test_nothing_has_to_be_configured() -> None:
    """Without PUSH_SERVER there are three locations, one store and no problem."""
    found = get_config()
    assert problems() == []
    assert [location.type for location in found.locations] == [
        "subscriber",
        "publisher",
        "multiplex",
    ]
    assert found.locations[2].reverse("") == "/updates"
    assert found.locations[0].reverse("a/b") == "/updates/a%2Fb"
    assert found.locations[1].reverse("a/b") == "/send-update/a%2Fb"
    assert list(found.stores) == ["default"]
    assert found.publisher_host == Host(location="127.0.0.1:8001", secure=False)
    assert found.publisher_host_explicit is False
    assert found.subscriber_host is None


def test_the_settings_of_the_predecessor_work_unchanged() -> None:
    """Each of its keys has its meaning, and the only remark is passthrough."""
    host = {"location": "127.0.0.1:8001", "secure": True}
    written = {**PUSH_SERVER, "subscriber_host": host}
    with override_settings(PUSH_SERVER=written, PUSH_SERVER_IGNORE_ERRORS=True):
        found = get_config()
        assert [str(problem.id) for problem in problems()] == ["pushserver.W001"]
    assert (found.port, found.address, found.servername) == (8001, "127.0.0.1", None)
    assert found.publisher_host.url == "http://127.0.0.1:8001"
    assert found.publisher_host_explicit is True
    assert found.subscriber_host == Host(location="127.0.0.1:8001", secure=True)
    assert found.subscriber_host.url == "https://127.0.0.1:8001"
    store = found.stores["default"]
    assert (store.min_messages, store.max_messages) == (0, 100)
    assert store.message_timeout == 10.0
    subscriber, publisher = found.locations
    assert subscriber.polling == "long"
    assert subscriber.create_on_get is True
    assert subscriber.allow_origin == ("http://127.0.0.1:8000",)
    assert subscriber.allow_credentials is True
    assert publisher.type == "publisher"
    assert found.match("/send-update/a") == (publisher, "a")
    assert found.ignore_errors is True


def test_the_first_location_that_matches_wins() -> None:
    """Locations are tried in the order of the settings."""
    found = config(
        locations=[
            {"type": "subscriber", "url": "/u/([a-z])"},
            {"type": "publisher", "prefix": "/u/"},
        ]
    )
    assert found.match("/u/a") == (found.locations[0], "a")
    assert found.match("/u/ab") == (found.locations[1], "ab")
    assert found.match("/other") is None


def test_locations_inherit_from_the_server() -> None:
    """A location's own value is stronger than the one of the whole server."""
    found = config(
        poll_timeout=7,
        max_body=10,
        locations=[
            {"type": "subscriber", "prefix": "/a/"},
            {"type": "subscriber", "prefix": "/b/", "poll_timeout": 3},
            {"type": "publisher", "prefix": "/c/", "max_body": 20},
        ],
    )
    assert [location.poll_timeout for location in found.locations] == [7.0, 3.0, 7.0]
    assert [location.max_body for location in found.locations] == [10, 10, 20]


def test_named_stores() -> None:
    """Each has its own limits; a location picks one by name."""
    found = config(
        channel_timeout=50,
        store={"default": {}, "news": {"max_messages": 5, "channel_timeout": 9}},
        locations=[{"type": "subscriber", "prefix": "/n/", "store": "news"}],
    )
    assert found.locations[0].store == "news"
    assert found.stores["default"].channel_timeout == 50.0
    assert found.stores["news"] == StoreConfig(
        alias="news", max_messages=5, channel_timeout=9.0, options={}
    )


def test_a_store_of_a_dotted_path_gets_the_other_keys() -> None:
    """What we do not know is for the class, dictionaries too."""
    store = {"type": "collections.OrderedDict", "host": {"a": 1}, "max_messages": 7}
    found = config(store=store).stores["default"]
    assert found.type == "collections.OrderedDict"
    assert found.max_messages == 7
    assert found.options == {"host": {"a": 1}}


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (None, "127.0.0.1:9000"),
        ("10.1.2.3", "10.1.2.3:9000"),
        ("0.0.0.0", "127.0.0.1:9000"),
        ("::", "[::1]:9000"),
        ("[::1]", "[::1]:9000"),
        ("push.example", "push.example:9000"),
    ],
)
def test_publishers_go_where_the_server_listens(address: str | None, host: str) -> None:
    """Without publisher_host it follows address and port."""
    assert config(address=address, port=9000).publisher_host.location == host


def test_a_layer_of_the_project() -> None:
    """An alias from CHANNEL_LAYERS is accepted as soon as it is there."""
    with pytest.raises(ImproperlyConfigured, match="CHANNEL_LAYERS"):
        config(layer="push")
    with override_settings(PUSH_SERVER={"layer": "push"}):
        with override_settings(CHANNEL_LAYERS={"push": {"BACKEND": "x"}}):
            assert get_config().layer == "push"
        with pytest.raises(ImproperlyConfigured):
            get_config()


def test_the_config_is_kept_until_the_settings_change() -> None:
    """The same object comes back; other settings change nothing."""
    before = get_config()
    with override_settings(TIME_ZONE="UTC"):
        assert get_config() is before
    with override_settings(PUSH_SERVER={"port": 9000}):
        assert get_config().port == 9000
    assert get_config().port is None
    with override_settings(PUSH_SERVER_IGNORE_ERRORS=True):
        assert get_config().ignore_errors is True
    assert get_config().ignore_errors is False


def test_the_config_is_read_only() -> None:
    """Nobody changes the settings of everybody."""
    found = get_config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.stores["x"] = found.stores["default"]  # type: ignore[index]


def test_all_errors_come_at_once() -> None:
    """The exception has every error, and no warning."""
    with pytest.raises(ImproperlyConfigured) as caught:
        config(port=0, resync="x", store={"max_messages": 0}, unknown=1)
    assert len(str(caught.value).splitlines()) == 3


def test_one_mistake_is_one_error() -> None:
    """What follows from a mistake is not reported as another one."""
    for wrong in [
        {"store": 5},
        {"store": {"type": "disk", "folder": "/tmp"}},
        {"store": {"max_messages": "x", "min_messages": 200}},
        {"store": {"x": {}}},
        {"publisher_host": "127.0.0.1:8001"},
        {"locations": [{"type": "both", "prefix": "/a/", "max_body": 1}]},
        {"locations": [{"type": [], "prefix": "/a/", "polling": "long"}]},
    ]:
        with override_settings(PUSH_SERVER=wrong):
            assert len(problems()) == 1, problems()


def test_import_without_settings() -> None:
    """The module can be imported before Django is configured."""
    code = "import pushserver.conf, pushserver.checks"
    subprocess.run([sys.executable, "-c", code], check=True, env={})


def test_the_reference_page_has_every_key_and_default() -> None:
    """docs/reference/settings.md and the code name the same keys and defaults."""
    from pushserver.conf.locations import Location
    from pushserver.conf.redis_settings import RedisSettings

    def declared(schema: Any, role: str = "") -> dict[str, Any]:
        return {
            field.name: field.default
            for field in dataclasses.fields(schema)
            if field.metadata.get("role") == role
        }

    nested = ["publisher_host", "subscriber_host", "store", "locations"]
    sections = {
        "The whole server": declared(Config) | dict.fromkeys(nested),
        "Hosts": declared(Host),
        "Stores": declared(StoreConfig),
        "Redis stores": declared(RedisSettings),
        "Locations": declared(Location)
        | declared(Location, "subscriber publisher")
        | dict.fromkeys(["url", "prefix"]),
        "Locations of readers": declared(Location, "subscriber multiplex"),
        "Subscriber locations": declared(Location, "subscriber"),
        "Publisher locations": declared(Location, "publisher"),
        "Multiplex locations": declared(Location, "multiplex"),
    }
    pages = tables("settings")
    assert set(pages) == set(sections)
    for heading, keys in sections.items():
        assert set(pages[heading]) == set(keys), heading
        for name, default in keys.items():
            if default is dataclasses.MISSING:
                assert pages[heading][name] in {"*required*", "*inherited*"}
            elif default is not None:
                documented = ast.literal_eval(pages[heading][name].strip("`"))
                assert documented == default, name
            elif name not in {*nested, "url", "prefix"}:
                assert pages[heading][name] == "`None`", name
