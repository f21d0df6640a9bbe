"""Small Django projects in a folder, for tests that run their commands."""

from pathlib import Path

URLS = """\
import threading
from pathlib import Path

from django.http import HttpResponse
from django.urls import path

from pushserver import send_update


def length(request):
    return HttpResponse(str(len(request.body)))


def send(request):
    return HttpResponse(str(send_update("news", {"type": "news"}).held))


def hang(request):
    Path("hangs").touch()
    threading.Event().wait(3600)
    return HttpResponse("late")


urlpatterns = [path("length/", length), path("send/", send), path("hang/", hang)]
"""

ASGI = """\
from django.core.asgi import get_asgi_application

from pushserver.asgi import push_application

django_application = get_asgi_application()


async def site(scope, receive, send):
    if scope["path"] == "/from-asgi":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": __name__.encode()})
    else:
        await django_application(scope, receive, send)


application = push_application(site)
"""

SITE = "site_settings"

# As little as Django lets a project have.
SETTINGS = {
    "SECRET_KEY": "tests only",
    "DEBUG": True,
    "ROOT_URLCONF": "urls",
    "INSTALLED_APPS": ["pushserver"],
    "DATA_UPLOAD_MAX_MEMORY_SIZE": None,
}


def build(folder: Path, **settings: object) -> Path:
    """Write a project whose settings module is SITE, and return its folder."""
    lines = [f"{name} = {value!r}" for name, value in (SETTINGS | settings).items()]
    (folder / f"{SITE}.py").write_text("\n".join([*lines, ""]))
    (folder / "urls.py").write_text(URLS)
    (folder / "site_asgi.py").write_text(ASGI)
    return folder
