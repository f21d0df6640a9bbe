"""The passthrough URL: ``path("passthrough", include("pushserver.urls"))``."""

from django.urls import path

from pushserver.views import passthrough

urlpatterns = [path("", passthrough, name="pushserver-passthrough")]
