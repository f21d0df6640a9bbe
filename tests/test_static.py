"""Tests of what is shipped for browsers."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles.management.commands.collectstatic import Command
from django.core.management import call_command
from django.templatetags.static import static
from django.test import override_settings

from pushserver.consumers import cors

ROOT = Path(__file__).parent.parent
MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


@pytest.mark.parametrize("name", ["updates.js", "push.js"])
def test_a_script_is_served_by_its_hashed_name(name, tmp_path):
    """collectstatic with a manifest takes it, and {% static %} finds it again."""
    with override_settings(
        INSTALLED_APPS=["django.contrib.staticfiles", "pushserver"],
        STORAGES={"staticfiles": {"BACKEND": MANIFEST}},
        STATIC_ROOT=str(tmp_path),
        STATIC_URL="/static/",
        DEBUG=False,
    ):
        call_command(Command(), interactive=False, verbosity=0)
        url = static(f"pushserver/{name}")
    stem = name.removesuffix(".js")
    assert re.fullmatch(rf"/static/pushserver/{stem}\.[0-9a-f]{{12}}\.js", url)
    hashed = tmp_path / url.removeprefix("/static/")
    original = ROOT / "pushserver/static/pushserver" / name
    assert hashed.read_bytes() == original.read_bytes()


def test_the_client_and_the_server_name_the_same_headers():
    """A page may send and read every header that js/src/protocol.js knows."""
    source = (ROOT / "js/src/protocol.js").read_text()
    headers = dict(
        re.findall(r'^export const (\w+) = "([^"]+)";$', source, re.MULTILINE)
    )
    asked = {headers.pop("IF_NONE_MATCH"), headers.pop("IF_MODIFIED_SINCE")}
    allowed = dict(cors.preflight(()))[b"access-control-allow-headers"].decode()
    assert asked <= set(allowed.split(", "))
    assert set(headers.values()) == set(cors._EXPOSED.decode().split(", "))
