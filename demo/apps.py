from django.apps import AppConfig

from pushserver.signals import channel_subscribe, channel_unsubscribe


class DemoConfig(AppConfig):
    name = "demo"

    def ready(self) -> None:
        from demo import receivers

        channel_subscribe.connect(receivers.poll_began)
        channel_unsubscribe.connect(receivers.poll_ended)
