from typing import ClassVar

from django.db import models


class Choice(models.Model):
    """One of the answers of the poll."""

    text = models.CharField(max_length=100, unique=True)
    votes = models.PositiveBigIntegerField(default=0)

    objects: ClassVar[models.Manager["Choice"]] = models.Manager()

    class Meta:
        app_label = "demo"
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.text
