"""The passthrough of the predecessor: a front server tells who comes and goes.

Push under Django itself needs it no more; a front server such as Nchan does.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from pushserver.consumers import SubscriberConsumer
from pushserver.exceptions import InvalidChannelId
from pushserver.names import validate_channel_id
from pushserver.signals import channel_subscribe, channel_unsubscribe

__all__ = ["passthrough"]

_SIGNALS = {"subscribe": channel_subscribe, "unsubscribe": channel_unsubscribe}


@csrf_exempt
@require_POST
def passthrough(request: HttpRequest) -> HttpResponse:
    """Send the signal for ``channel_id`` and ``subscribe`` or ``unsubscribe``.

    Only for requests from INTERNAL_IPS; the front server sends the client's headers
    along, so ``request.user`` is the client's.
    """
    if request.META.get("REMOTE_ADDR") not in settings.INTERNAL_IPS:
        return _line(403, "Only for INTERNAL_IPS.")
    named = [name for name in _SIGNALS if name in request.POST]
    try:
        channel_id = validate_channel_id(request.POST.get("channel_id", ""))
    except InvalidChannelId as error:
        return _line(400, str(error))
    if len(named) != 1:
        return _line(400, "Accepted: one of subscribe, unsubscribe.")
    _SIGNALS[named[0]].send_robust(
        SubscriberConsumer, request=request, channel_id=channel_id
    )
    return HttpResponse()


def _line(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain")
