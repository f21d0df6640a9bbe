"""What a project's own asgi.py looks like."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.e2e.protocol.site.settings")

from pushserver.asgi import push_application

application = push_application(get_asgi_application())
