"""The demo site for any ASGI server: push and Django from one process."""

import os

from django.core.asgi import get_asgi_application

from pushserver.asgi import push_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

application = push_application(get_asgi_application())
