"""The settings as system checks; ``check --deploy`` also looks at the surroundings."""

import os
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from pushserver.conf import Config, get_config, problems
from pushserver.problems import Id, Problem

__all__ = ["check_deployment", "check_settings"]

TAG = "pushserver"


@checks.register(TAG)
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Report everything that is wrong or doubtful in the settings."""
    return [_message(problem) for problem in problems()]


@checks.register(TAG, deploy=True)
def check_deployment(**kwargs: Any) -> list[checks.CheckMessage]:
    """Report what is fine on the developer's machine only."""
    try:
        config = get_config()
    except ImproperlyConfigured:
        # check_settings says why.
        return []
    found = [*_workers(config), *_open_locations(config)]
    return [_message(problem) for problem in found]


def _message(problem: Problem) -> checks.CheckMessage:
    kind = checks.Error if problem.id.is_error else checks.Warning
    return kind(problem.message, hint=problem.hint, id=str(problem.id))


def _workers(config: Config) -> Iterator[Problem]:
    # Heroku's habit, which uvicorn and gunicorn follow; the one number of
    # workers that a check can see.
    workers = os.environ.get("WEB_CONCURRENCY", "")
    if not workers.isdecimal() or int(workers) < 2:
        return
    aliases = [s.alias for s in config.stores.values() if s.type == "memory"]
    if aliases:
        yield Problem(
            id=Id.MEMORY_STORE_WITH_WORKERS,
            message=(
                f"WEB_CONCURRENCY is {workers}, but each worker has a store "
                f"{aliases[0]!r} of its own: most readers would miss most messages."
            ),
            hint="Use a store that all workers share, or one worker.",
        )
    if _is_in_memory(config.layer):
        yield Problem(
            id=Id.MEMORY_LAYER_WITH_WORKERS,
            message=(
                f"WEB_CONCURRENCY is {workers}, but the channel layer "
                f"{config.layer!r} is in memory: no worker wakes the readers of "
                f"another."
            ),
            hint="Configure a layer in CHANNEL_LAYERS that all workers share.",
        )


def _is_in_memory(alias: str) -> bool:
    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    # Without a "default" the hub has an in-memory layer of its own.
    in_memory = "channels.layers.InMemoryChannelLayer"
    return alias not in layers or layers[alias].get("BACKEND") == in_memory


def _open_locations(config: Config) -> Iterator[Problem]:
    for index, location in enumerate(config.locations):
        name = f"PUSH_SERVER['locations'][{index}]"
        strangers = [net for net in location.allow or () if not net.is_loopback]
        if strangers:
            yield Problem(
                id=Id.OPEN_PUBLISHER,
                message=(
                    f"{name}['allow'] lets everybody in {strangers[0]} publish "
                    f"without a signature."
                ),
                hint="send_update signs what it sends and needs no 'allow'.",
            )
        if location.allow_origin == ("*",):
            yield Problem(
                id=Id.ANY_ORIGIN,
                message=f"{name}['allow_origin'] is '*': any site may read.",
                hint="List the origins whose pages subscribe.",
            )
