"""HMACs of the protocol: handshakes, webhooks, URL validation (PROTOCOL §2, §3)."""

import hashlib
import hmac
import json
from enum import StrEnum

from rtms_cli.protocol.strict_json import loads
from rtms_cli.protocol.texts import utf8

MAX_AGE_S = 300
"""How far a webhook's timestamp may be from ours, against replays (PROTOCOL §2)."""


class Signature(str):
    """A handshake signature, which must not appear in a log by way of `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[redacted]'"


def handshake_signature(client_id: str, client_secret: str, identity: str, stream_id: str) -> Signature:
    """The signature of `1` and `3`: hex HMAC-SHA256 of `{client_id},{id},{rtms_stream_id}`."""
    return Signature(_hex(client_secret, utf8(f"{client_id},{identity},{stream_id}")))


def webhook_signature(secret_token: str, timestamp: str, body: bytes) -> str:
    """The `x-zm-signature` header of a webhook, over the raw bytes of its body."""
    return "v0=" + _hex(secret_token, b"v0:" + utf8(timestamp) + b":" + body)


def signed_headers(secret_token: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook as Zoom posts it."""
    timestamp = str(timestamp_s)
    return {
        "content-type": "application/json; charset=utf-8",
        "x-zm-request-timestamp": timestamp,
        "x-zm-signature": webhook_signature(secret_token, timestamp, body),
    }


def challenge_answer(secret_token: str, plain_token: str) -> dict[str, str]:
    """The answer to `endpoint.url_validation`."""
    return {"plainToken": plain_token, "encryptedToken": _hex(secret_token, utf8(plain_token))}


MAX_REWRITTEN = 1 << 16
"""A wrong signature is looked at again for bodies of at most this many bytes, so that forgeries stay cheap."""


class WebhookCheck(StrEnum):
    """What became of a webhook's signature; the value is a line for people."""

    GOOD = "good"
    MISSING = "x-zm-signature or x-zm-request-timestamp is missing"
    MALFORMED = "x-zm-request-timestamp is not a number of seconds"
    STALE = "x-zm-request-timestamp is more than 300 s off: an old webhook sent again, or a wrong clock"
    REWRITTEN = (
        "x-zm-signature fits the body as JSON.stringify writes it, not the bytes that came: does something on the way, "
        "such as a proxy, change the body?"
    )
    WRONG = "x-zm-signature does not fit: another secret token, or a body that was changed on the way"


def check_webhook(
    secret_token: str, signature: str | None, timestamp: str | None, body: bytes, now_s: float
) -> WebhookCheck:
    """Check a webhook's signature, in constant time, and its age."""
    if not signature or not timestamp:
        return WebhookCheck.MISSING
    if not hmac.compare_digest(webhook_signature(secret_token, timestamp, body).encode(), utf8(signature)):
        if len(body) <= MAX_REWRITTEN and _fits_rewritten(secret_token, signature, timestamp, body):
            return WebhookCheck.REWRITTEN
        return WebhookCheck.WRONG
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 20):
        return WebhookCheck.MALFORMED
    return WebhookCheck.STALE if abs(now_s - int(timestamp)) > MAX_AGE_S else WebhookCheck.GOOD


def rewritten_json(body: bytes) -> bytes:
    """A body as JSON.stringify writes it: what some of Zoom's own sources sign in place of the raw bytes.

    :raises ValueError: if it is not JSON.
    """
    return utf8(json.dumps(loads(body), separators=(",", ":"), ensure_ascii=False))


def _fits_rewritten(secret_token: str, signature: str, timestamp: str, body: bytes) -> bool:
    try:
        rewritten = webhook_signature(secret_token, timestamp, rewritten_json(body))
    except ValueError:
        return False
    return hmac.compare_digest(rewritten.encode(), utf8(signature))


def _hex(key: str, message: bytes) -> str:
    return hmac.new(utf8(key), message, hashlib.sha256).hexdigest()
