from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from demo.models import Choice

CHOICES = ["Coffee", "Tea", "Chocolate", "A walk outside"]


class Command(BaseCommand):
    help = "Makes the database ready: tables, the poll's choices and the demo user."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        for text in CHOICES:
            Choice.objects.get_or_create(text=text)
        users = get_user_model()._default_manager
        if not users.filter(username="demo").exists():
            users.create_user("demo", password="demo")
        self.stdout.write("The demo user is demo, with the password demo.")
