"""The Django application."""

from django.apps import AppConfig

__all__ = ["PushServerConfig"]


class PushServerConfig(AppConfig):
    name = "pushserver"
    verbose_name = "Push server"

    def ready(self) -> None:
        # Registers them.
        from pushserver import checks  # noqa: F401
