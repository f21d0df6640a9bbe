"""System checks: one test per id, each naming the key and what is accepted."""

from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pushserver.checks import check_deployment, check_settings
from pushserver.conf import get_config
from pushserver.problems import Id
from tests.reference import tables

SUBSCRIBER = {"type": "subscriber", "prefix": "/s/"}
PUBLISHER = {"type": "publisher", "prefix": "/p/"}


def at(**options: object) -> dict[str, object]:
    """Settings with one subscriber location."""
    return {"locations": [{**SUBSCRIBER, **options}]}


def url(pattern: object) -> dict[str, object]:
    return {"locations": [{"type": "publisher", "url": pattern}]}


def redis(**options: object) -> dict[str, object]:
    """Settings with one Redis store."""
    return {"store": {"type": "redis", **options}}


def redis_layer(**config: object) -> dict[str, object]:
    return {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": config,
    }


LAYERS: dict[str, object] = {
    "a": {},
    "b": {},
    "encrypted": redis_layer(hosts=["redis://a"], symmetric_encryption_keys=["k"]),
    "scolded": redis_layer(hosts="redis://a"),
    "watched": redis_layer(hosts=[{"sentinels": [("a", 1)], "master_name": "m"}]),
}
ORIGIN = "http://a"

ERRORS: list[tuple[Id, Any, list[str]]] = [
    (Id.NOT_A_DICT, [("port", 1)], ["PUSH_SERVER is [(", "a dictionary"]),
    (Id.NOT_A_DICT, None, ["PUSH_SERVER is None", "a dictionary"]),
    (Id.NOT_A_DICT, {"store": "memory"}, ["['store'] is 'memory'", "a dictionary"]),
    (Id.NOT_A_DICT, {"store": {"default": 1}}, ["['store']['default'] is 1"]),
    (Id.NOT_A_DICT, {"publisher_host": "x:1"}, ["['publisher_host'] is 'x:1'"]),
    (Id.UNKNOWN_KEY, {"prot": 1}, ["PUSH_SERVER has", "'prot'", "'port'"]),
    (Id.UNKNOWN_KEY, {"store": {"max": 1}}, ["['store'] has", "'max_messages'"]),
    (Id.UNKNOWN_KEY, at(poling="long"), ["['locations'][0] has", "'polling'"]),
    (
        Id.UNKNOWN_KEY,
        {"subscriber_host": {"location": "x", "port": 1}},
        ["['subscriber_host'] has", "'location', 'secure'"],
    ),
    (Id.SWITCH, at(create_on_get=1), ["[0]['create_on_get'] is 1", "True, False"]),
    (
        Id.SWITCH,
        {"publisher_host": {"location": "x", "secure": "no"}},
        ["['publisher_host']['secure'] is 'no'", "True, False"],
    ),
    (Id.CHOICE, at(polling="short"), ["['polling'] is 'short'", "'long', 'interval'"]),
    (Id.CHOICE, at(type="both"), ["['type'] is 'both'", "'publisher', 'multiplex'"]),
    (Id.CHOICE, {"locations": [{"prefix": "/x/"}]}, ["['type'] is missing"]),
    (Id.CHOICE, at(transports="websocket"), ["is 'websocket'", "a list of some of"]),
    (Id.CHOICE, at(transports=["telepathy"]), ["'long-poll', 'event-stream'"]),
    (Id.CHOICE, at(transports=[]), ["['transports'] is []", "'websocket'"]),
    (Id.CHOICE, at(concurrency="all"), ["'broadcast', 'last', 'first'"]),
    (Id.CHOICE, at(first_message=0), ["['first_message'] is 0", "'oldest', 'newest'"]),
    (Id.NUMBER, {"poll_timeout": 0}, ["['poll_timeout'] is 0", "seconds above 0"]),
    (Id.NUMBER, {"linger": -1}, ["['linger'] is -1", "seconds from 0"]),
    (Id.NUMBER, {"max_body": 0}, ["['max_body'] is 0", "whole number from 1"]),
    (Id.NUMBER, {"store": {"min_messages": -1}}, ["is -1", "whole number from 0"]),
    (Id.PORT, {"port": 65536}, ["['port'] is 65536", "from 1 to 65535"]),
    (Id.ADDRESS, {"address": "http://x"}, ["['address'] is 'http://x'", "IP address"]),
    (Id.SERVERNAME, {"servername": "a\n"}, ["['servername'] is 'a\\n'", "ASCII"]),
    (
        Id.HOST,
        {"publisher_host": {"location": "http://x"}},
        ["['publisher_host']['location'] is 'http://x'", "'host:port'"],
    ),
    (Id.HOST, {"subscriber_host": {}}, ["['subscriber_host']['location'] is missing"]),
    (Id.STORE_NAMES, {"store": {"x": {}}}, ["['store'] is", "'default'"]),
    (Id.STORE_NAMES, {"store": {"default": {}, 1: {}}}, ["['store'] is", "names"]),
    (Id.STORE_TYPE, {"store": {"type": "disk"}}, ["['type'] is 'disk'", "'memory'"]),
    (Id.STORE_NOT_FOUND, {"store": {"type": "x_y.Z"}}, ["cannot import 'x_y'"]),
    (Id.STORE_BROKEN, {"store": {"type": "broken_store.Z"}}, ["No module named 'x_y'"]),
    (
        Id.MIN_OVER_MAX,
        {"store": {"min_messages": 101}},
        ["['min_messages'] is 101", "at most 'max_messages', which is 100"],
    ),
    (Id.LOCATIONS, {"locations": {}}, ["['locations'] is {}", "list or tuple"]),
    (Id.LOCATIONS, {"locations": ["/u/"]}, ["[0] is '/u/'", "a dictionary"]),
    (Id.URL_OR_PREFIX, at(url="/(x)"), ["both 'url' and 'prefix'", "exactly one"]),
    (
        Id.URL_OR_PREFIX,
        {"locations": [{"type": "publisher"}]},
        ["[0] has neither 'url' nor 'prefix'", "exactly one"],
    ),
    (Id.URL_SYNTAX, url("/(x"), ["['url'] is '/(x'", "a regular expression (missing"]),
    (Id.URL_SYNTAX, url(5), ["['url'] is 5", "a regular expression"]),
    (Id.URL_GROUPS, url("/x"), ["['url'] is '/x'", "exactly one group"]),
    (
        Id.URL_GROUPS,
        {"locations": [{"type": "multiplex", "url": "/(x)"}]},
        ["['url'] is '/(x)'", "without groups"],
    ),
    (Id.URL_REVERSAL, url("/a|/(x)"), ["['url'] is '/a|/(x)'", "can be reversed"]),
    (
        Id.URL_REVERSAL,
        {"locations": [{"type": "subscriber", "url": "/a|/(x)"}]},
        ["can be reversed"],
    ),
    (Id.PREFIX, at(prefix="u/"), ["['prefix'] is 'u/'", "begins with one '/'"]),
    (
        Id.OTHER_ROLE,
        {"locations": [{**PUBLISHER, "heartbeat": 1}]},
        ["'heartbeat', which is for a subscriber or multiplex", "'allow'"],
    ),
    (
        Id.OTHER_ROLE,
        {"locations": [{"type": "multiplex", "store": "default"}]},
        ["'store', which is for a subscriber or publisher", "'max_channels'"],
    ),
    (Id.OTHER_ROLE, at(allow=[]), ["'allow', which is for a publisher", "'polling'"]),
    (
        Id.OTHER_ROLE,
        {"locations": [{**PUBLISHER, "polling": "long"}]},
        ["'polling', which is for a subscriber", "'allow'"],
    ),
    (Id.ORIGIN, at(allow_origin="null"), ["'allow_origin'] is 'null'", "'scheme://"]),
    (
        Id.ANY_ORIGIN_WITH_CREDENTIALS,
        at(allow_origin="*", allow_credentials=True),
        ["['allow_credentials'] is True", "False, because 'allow_origin' is '*'"],
    ),
    (
        Id.NETWORKS,
        {"locations": [{**PUBLISHER, "allow": ["x"]}]},
        ["['allow'] is ['x']", "networks"],
    ),
    (Id.NETWORKS, {"trusted_proxies": "::1"}, ["['trusted_proxies']", "a list of IP"]),
    (Id.UNKNOWN_STORE, at(store="x"), ["['store'] is 'x'", "accepted: 'default'"]),
    (Id.UNKNOWN_STORE, at(store=1), ["['store'] is 1", "the name of a store"]),
    (Id.LAYER, {"layer": "x"}, ["['layer'] is 'x'", "'a', 'b', 'default'"]),
    (Id.PASSTHROUGH, at(passthrough=1), ["['passthrough'] is 1", "a URL"]),
    (Id.REDIS_URL, redis(url="http://a"), ["['url'] is 'http://a'", "redis://"]),
    (Id.KEY_PREFIX, redis(key_prefix="{a}"), ["['key_prefix'] is '{a}'", "letters"]),
    (Id.URL_AND_HOST, redis(url="redis://a", port=1), ["['url'] is", "either 'url'"]),
    (
        Id.ENCRYPTED_LAYER,
        {"layer": "encrypted"},
        ["['store'] would lie unencrypted", "accepted: a 'url'"],
    ),
    (
        Id.REDIS_CLUSTER,
        redis(host="a", database=1, cluster=True),
        ["['cluster'] is True", "database 0"],
    ),
    (Id.REDIS_CLUSTER, redis(url="unix:///a", cluster=True), ["over TCP"]),
    (
        Id.REDIS_CLUSTER,
        {"layer": "watched", "store": {"cluster": True}},
        ["['cluster'] is True", "over TCP"],
    ),
    (Id.LAYER_HOSTS, {"layer": "scolded"}, ["layer 'scolded'", "a list of URLs"]),
]

WARNINGS: list[tuple[Id, Any, list[str]]] = [
    (Id.PASSTHROUGH_UNUSED, at(passthrough=ORIGIN), ["[0]['passthrough']", "needed"]),
    (Id.UNBOUNDED_STORE, {"store": {"max_messages": 0}}, ["['max_messages'] is 0"]),
    (
        Id.UNREACHABLE_LOCATION,
        {"locations": [SUBSCRIBER, PUBLISHER, SUBSCRIBER]},
        ["['locations'][2] is never used"],
    ),
]

# With two workers to be seen.
DEPLOY_WARNINGS: list[tuple[Id, Any, Any, list[str]]] = [
    (
        Id.MEMORY_STORE_WITH_WORKERS,
        {},
        {"default": {"BACKEND": "shared"}},
        ["WEB_CONCURRENCY is 2", "store 'default'"],
    ),
    (
        Id.MEMORY_LAYER_WITH_WORKERS,
        {"store": {"type": "collections.OrderedDict"}},
        {},
        ["WEB_CONCURRENCY is 2", "'default' is in memory"],
    ),
    (
        Id.MEMORY_LAYER_WITH_WORKERS,
        {"store": {"type": "collections.OrderedDict"}, "layer": "a"},
        {"a": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        ["WEB_CONCURRENCY is 2", "'a' is in memory"],
    ),
]

SETTINGS_DEPLOY_WARNINGS: list[tuple[Id, Any, list[str]]] = [
    (
        Id.OPEN_PUBLISHER,
        {"locations": [{**PUBLISHER, "allow": ["127.0.0.1", "10.0.0.0/8"]}]},
        ["['locations'][0]['allow'] lets everybody in 10.0.0.0/8"],
    ),
    (Id.ANY_ORIGIN, at(allow_origin="*"), ["[0]['allow_origin'] is '*'"]),
]


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)


def reported(found: list[checks.CheckMessage]) -> tuple[str, str]:
    """The id and message of the only thing found."""
    assert len(found) == 1, found
    assert found[0].id is not None
    return found[0].id, found[0].msg


@pytest.mark.parametrize(("id_", "push_server", "words"), ERRORS)
def test_errors(
    id_: Id,
    push_server: Any,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong value is one error, and the same text as ImproperlyConfigured."""
    (tmp_path / "broken_store.py").write_text("import x_y")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(PUSH_SERVER=push_server, CHANNEL_LAYERS=LAYERS):
        found = check_settings()
        with pytest.raises(ImproperlyConfigured) as caught:
            get_config()
        assert check_deployment() == []
    id_found, message = reported(found)
    assert id_found == id_
    assert isinstance(found[0], checks.Error)
    assert str(caught.value) == message
    for word in words:
        assert word in message


@pytest.mark.parametrize("value", ["False", 1, None])
def test_ignore_errors_is_a_switch(value: object) -> None:
    """E003: PUSH_SERVER_IGNORE_ERRORS is checked too."""
    with override_settings(PUSH_SERVER_IGNORE_ERRORS=value):
        id_, message = reported(check_settings())
    assert id_ == "pushserver.E003"
    expected = f"PUSH_SERVER_IGNORE_ERRORS is {value!r}; accepted: True, False."
    assert message == expected


@pytest.mark.parametrize(("id_", "push_server", "words"), WARNINGS)
def test_warnings(id_: Id, push_server: Any, words: list[str]) -> None:
    """What is doubtful is a warning, and the settings work."""
    with override_settings(PUSH_SERVER=push_server):
        found = check_settings()
        get_config()
    id_found, message = reported(found)
    assert id_found == id_
    assert isinstance(found[0], checks.Warning)
    for word in words:
        assert word in message


@pytest.mark.parametrize(("id_", "push_server", "layers", "words"), DEPLOY_WARNINGS)
def test_warnings_about_workers(
    id_: Id,
    push_server: Any,
    layers: Any,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What one process has alone is doubtful where several are to be seen."""
    with override_settings(PUSH_SERVER=push_server, CHANNEL_LAYERS=layers):
        monkeypatch.setenv("WEB_CONCURRENCY", "2")
        id_found, message = reported(check_deployment())
        for harmless in ["1", "0", "", "many"]:
            monkeypatch.setenv("WEB_CONCURRENCY", harmless)
            assert check_deployment() == []
    assert id_found == id_
    for word in words:
        assert word in message


@pytest.mark.parametrize(("id_", "push_server", "words"), SETTINGS_DEPLOY_WARNINGS)
def test_warnings_about_open_locations(
    id_: Id, push_server: Any, words: list[str]
) -> None:
    """What lets strangers in is doubtful on a public server, and only there."""
    with override_settings(PUSH_SERVER=push_server):
        assert check_settings() == []
        id_found, message = reported(check_deployment())
    assert id_found == id_
    for word in words:
        assert word in message


def test_a_publisher_open_to_the_loopback_is_fine() -> None:
    """Only this machine can publish there."""
    locations = [{**PUBLISHER, "allow": ["127.0.0.0/8", "::1"]}]
    with override_settings(PUSH_SERVER={"locations": locations}):
        assert check_deployment() == []


def test_django_runs_the_checks() -> None:
    """They belong to the tag pushserver, the deployment ones to --deploy."""
    with override_settings(PUSH_SERVER=at(allow_origin="*", passthrough="")):
        plain = checks.run_checks(tags=["pushserver"])
        deploy = checks.run_checks(tags=["pushserver"], include_deployment_checks=True)
    assert [message.id for message in plain] == ["pushserver.W001"]
    assert {message.id for message in deploy} == {"pushserver.W001", "pushserver.W007"}


def test_every_id_has_a_test() -> None:
    """The tables above know every id."""
    tested = {
        case[0]
        for cases in (ERRORS, WARNINGS, DEPLOY_WARNINGS, SETTINGS_DEPLOY_WARNINGS)
        for case in cases
    }
    assert tested == set(Id)


def test_every_id_is_in_the_reference() -> None:
    """docs/reference/checks.md and the code have the same ids."""
    documented = tables("checks")["System checks"]
    assert set(documented) == {str(id_) for id_ in Id}
    assert len(set(documented.values())) == len(documented)
