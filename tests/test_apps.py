"""The Django application: what being installed does."""

import subprocess
import sys
from pathlib import Path

from django.apps import apps
from django.core.checks import registry

from pushserver.apps import PushServerConfig

# A project that has nothing but pushserver, as far as that goes.
ALONE = """
from django.conf import settings
settings.configure(INSTALLED_APPS=["pushserver"], PUSH_SERVER={"prot": 1})
import django
django.setup()
from django.core import checks
print([message.id for message in checks.run_checks()])
"""


def test_the_application() -> None:
    """It is found by the name of the package."""
    config = apps.get_app_config("pushserver")
    assert isinstance(config, PushServerConfig)
    assert config.verbose_name == "Push server"


def test_being_installed_registers_the_checks() -> None:
    """They run with Django's own, and by their tag."""
    assert registry.registry.tag_exists("pushserver", include_deployment_checks=True)


def test_being_installed_is_enough() -> None:
    """Neither channels nor daphne nor any other setting is needed."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "pushserver.E" in done.stdout
