"""``include("pushserver.urls")``, as the predecessor's manual has it."""

from django.test import Client, override_settings
from django.urls import include, path, resolve, reverse

from pushserver.views import passthrough

urlpatterns = [path("front/passthrough", include("pushserver.urls"))]


@override_settings(ROOT_URLCONF=__name__, INTERNAL_IPS=["127.0.0.1"])
def test_the_passthrough_has_a_url() -> None:
    """It stands where the project includes it, and has the name of ever."""
    url = reverse("pushserver-passthrough")
    assert url == "/front/passthrough"
    assert resolve(url).func is passthrough
    assert Client().post(url, {"channel_id": "a", "subscribe": ""}).status_code == 200
