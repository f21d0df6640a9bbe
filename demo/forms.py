import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from demo.models import Choice


class VoteForm(forms.Form):
    choice = forms.ModelChoiceField(Choice.objects.all())


class PushForm(forms.Form):
    channel = forms.CharField()
    update = forms.CharField()

    def clean_update(self) -> Any:
        try:
            return json.loads(self.cleaned_data["update"])
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"That is no JSON: {error}") from None
