"""A project as somebody wrote it who had the manual of django-pushserver 0.3 alone.

Only Django itself is newer. The ports are the manual's and replaced by free ones, so
that several such projects run at once.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.servers import ROOT, Server, environment, free_port
from tests.readme import files

USER, PASSWORD = "alice", "correct horse"

PUSH_SERVER = {
    "port": 8001,
    "address": "127.0.0.1",
    "servername": None,
    "publisher_host": {"location": "127.0.0.1:8001", "secure": False},
    "subscriber_host": {"location": "127.0.0.1:8001", "secure": False},
    "store": {
        "type": "memory",
        "min_messages": 0,
        "max_messages": 100,
        "message_timeout": 10,
    },
    "locations": (
        {
            "type": "subscriber",
            "url": r"/updates/([^/]+)",
            "polling": "long",
            "create_on_get": True,
            "allow_origin": "http://127.0.0.1:8000",
            "allow_credentials": True,
            "passthrough": "http://127.0.0.1:8000/passthrough",
        },
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
    ),
}

SETTINGS = f"""
INSTALLED_APPS += ["pushserver", "pages"]
PUSH_SERVER = {PUSH_SERVER!r}
PUSH_SERVER_IGNORE_ERRORS = False
"""

URLS = r"""
from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path, re_path

from pages import views

urlpatterns = [
    path("admin/", admin.site.urls),
    re_path(r"^passthrough", include("pushserver.urls")),
    path("", views.index),
    path("sync/", views.sync_view),
    path("async/", views.async_view),
    path("thread/", views.thread),
    path("async_to_sync/", views.wrapped),
    *staticfiles_urlpatterns(),
]
"""

# Each line in one write: receivers of several polls print at the same time.
MODELS = r"""
from django.dispatch import receiver

from pushserver.signals import channel_subscribe, channel_unsubscribe


@receiver(channel_subscribe)
def subscribed(sender, request, channel_id, **kwargs):
    print(f"Subscribed {request.user} {channel_id}\n", end="")


@receiver(channel_unsubscribe)
def unsubscribed(sender, request, channel_id, **kwargs):
    print(f"Unsubscribed {request.user} {channel_id}\n", end="")
"""

# One view for each place that a project sends from today.
VIEWS = """
from threading import Thread

from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.shortcuts import render

from pushserver import asend_update
from pushserver.utils import updates


def index(request):
    return render(request, "index.html")


def sync_view(request):
    updates.send_update("some_channel_id", {"type": "answer", "value": "sync view"})
    return HttpResponse()


async def async_view(request):
    await asend_update("some_channel_id", {"type": "answer", "value": "async view"})
    return HttpResponse()


def thread(request):
    update = {"type": "answer", "value": "thread"}
    sender = Thread(target=updates.send_update, args=["some_channel_id", update])
    sender.start()
    sender.join()
    return HttpResponse()


def wrapped(request):
    update = {"type": "answer", "value": "async_to_sync"}
    async_to_sync(asend_update)("some_channel_id", update)
    return HttpResponse()
"""

SHELL = (
    "from pushserver.utils import updates; "
    "updates.send_update('some_channel_id', {'type': 'answer', 'value': 'shell'})"
)

PAGE = """
{% load static pushserver %}
<!DOCTYPE html>
<ul id="answers"></ul>
<script src="{% static 'jquery.js' %}"></script>
<script src="{% static 'pushserver/updates.js' %}"></script>
<script>
  $.updates.registerProcessor('main_channel', 'answer', function (data) {
    $('<li>').text(data.value).appendTo('#answers');
  });
  $(function () {
    $.updates.subscribe({
      'main_channel':
        '{% filter escapejs %}{% channel_url "some_channel_id" %}{% endfilter %}'
    });
  });
</script>
"""


def build(folder: Path) -> None:
    """Write the project, with its tables and a user who may log in."""
    run(folder, "-m", "django", "startproject", "project", ".")
    manage(folder, "startapp", "pages")
    with (folder / "project" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "project" / "urls.py").write_text(URLS)
    pages = folder / "pages"
    (pages / "models.py").write_text(MODELS)
    (pages / "views.py").write_text(VIEWS)
    (pages / "static").mkdir()
    (pages / "templates").mkdir()
    (pages / "templates" / "index.html").write_text(PAGE)
    manage(folder, "migrate", "--verbosity=0")
    user = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    named = [f"--username={USER}", "--email=alice@example.com"]
    manage(folder, "createsuperuser", "--noinput", *named, **user)


def run(folder: Path, *arguments: str, **extra: str) -> None:
    """Run Python in the project to its end."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder, extra),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def manage(folder: Path, *arguments: str, **extra: str) -> None:
    run(folder, "manage.py", *arguments, **extra)


class Installation:
    """A copy of the project, with ports and a jQuery of its own."""

    def __init__(self, project: Path, folder: Path, jquery: str) -> None:
        self.folder = folder
        shutil.copytree(project, folder)
        self.site_port, self.push_port = free_port(), free_port()
        settings = folder / "project" / "settings.py"
        text = settings.read_text()
        text = text.replace("8000", f"{self.site_port}")
        settings.write_text(text.replace("8001", f"{self.push_port}"))
        source = ROOT / "js" / "node_modules" / jquery / "dist" / "jquery.min.js"
        shutil.copy(source, folder / "pages" / "static" / "jquery.js")

    def manage(self, *arguments: str) -> None:
        """Run a management command to its end."""
        manage(self.folder, *arguments)

    def start(self, *words: str, port: int) -> Server:
        """Start a server by its management command; it listens.

        It does not watch the code: somebody may work on it while the tests run.
        """
        command = [sys.executable, "manage.py", *words, "--noreload"]
        return Server(command, cwd=self.folder, port=port).wait_listening()

    def take_the_readmes_asgi_application(self) -> None:
        """Do the one thing that another server than runpushserver needs."""
        [asgi] = [file.text for file in files() if file.path == "mysite/asgi.py"]
        path = self.folder / "project" / "asgi.py"
        path.write_text(asgi.replace("mysite", "project"))
