"""Signed tokens: what proves that the project itself sent a request."""

from hashlib import sha256

from django.core import signing

__all__ = ["PUBLISH_MAX_AGE", "sign_publish", "verify_publish"]

PUBLISH_MAX_AGE = 60
"""Seconds for which the token of a publish is valid."""

_SALT = "pushserver.publish"


def sign_publish(method: str, channel_id: str, body: bytes) -> str:
    """Return the token for one request to a publisher location."""
    return signing.TimestampSigner(salt=_SALT).sign_object(
        [method, channel_id, sha256(body).hexdigest()]
    )


def verify_publish(token: str, method: str, channel_id: str, body: bytes) -> bool:
    """Say whether the token was made for just this request, within a minute.

    Any key of SECRET_KEY and SECRET_KEY_FALLBACKS may have signed it.
    """
    try:
        signed = signing.TimestampSigner(salt=_SALT).unsign_object(
            token, max_age=PUBLISH_MAX_AGE
        )
    except signing.BadSignature:
        return False
    return bool(signed == [method, channel_id, sha256(body).hexdigest()])
