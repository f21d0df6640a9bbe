"""As little as the pages need."""

import os
from pathlib import Path

SECRET_KEY = "tests only"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "tests.e2e.pages.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "pushserver"]
PUSH_SERVER = {
    "max_stream_seconds": float(os.environ.get("PAGES_STREAM_SECONDS", "600")),
}
STATIC_URL = "/static/"
MODULES = Path(__file__).parents[3] / "js" / "node_modules"
STATICFILES_DIRS = [
    ("vendor", MODULES / folder)
    for folder in ("htmx.org/dist", "htmx-ext-sse/dist", "htmx-ext-ws/dist", "nchan")
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent],
        "APP_DIRS": True,
    }
]
