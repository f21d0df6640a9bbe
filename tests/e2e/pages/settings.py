"""As little as the pages need."""

from pathlib import Path

SECRET_KEY = "tests only"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "tests.e2e.pages.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "pushserver"]
STATIC_URL = "/static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent],
        "APP_DIRS": True,
    }
]
