"""What Zoom posts, written: bodies of every kind, and what an app's answer to them is worth (PROTOCOL §2)."""

import json
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from rtms_cli.protocol.numbers import Product
from rtms_cli.wire.poster import Answer

ANSWER_S = 3.0
"""How long Zoom waits for the answer to a webhook."""

VALIDATION = "endpoint.url_validation"

_EVENTS = {
    Product.MEETING: "meeting.rtms_{}",
    Product.WEBINAR: "webinar.rtms_{}",
    Product.VIDEO_SDK: "session.rtms_{}",
    Product.CONTACT_CENTER: "contact_center.voice_rtms_{}",
    Product.PHONE: "phone.rtms_{}",
}


def stream_event(product: Product, what: str) -> str:
    """The name of a product's event: `started`, `stopped` or `interrupted`."""
    return _EVENTS[product].format(what)


def webhook_body(event: str, event_ts: int, payload: Mapping[str, object]) -> bytes:
    """A webhook's body.

    :param event_ts: when it happened, in ms.
    """
    return json.dumps({"event": event, "event_ts": event_ts, "payload": payload}).encode()


class Ids(Struct, frozen=True):
    """What a webhook about a stream names."""

    product: Product
    id: str
    stream_id: str
    server_urls: str


def stream_payload(ids: Ids, what: str, reason: int | None = None) -> dict[str, object]:
    """The payload of `started`, `stopped` or `interrupted`."""
    payload: dict[str, object] = {
        "account_id": "simulated-account",
        ids.product.id_field: ids.id,
        "rtms_stream_id": ids.stream_id,
    }
    if what == "started":
        payload |= {"operator_id": "simulated-operator", "server_urls": ids.server_urls}
    if reason is not None:
        payload["stop_reason"] = reason
    return payload


CONCURRENCY: dict[str, dict[str, object]] = {
    "rtms.concurrency_near_limit": {"concurrency_limit": 2000, "concurrency_number": 1601, "percentage": 80},
    "rtms.concurrency_limited": {"concurrency_limit": 2000, "concurrency_number": 2000, "percentage": 100},
}
"""The payloads of the warnings about too many streams at once."""


class Sent(StrEnum):
    """What kind of webhook an answer is to."""

    CHALLENGE = "challenge"
    GOOD = "good"
    FORGED = "forged"
    STALE = "stale"


class Judgement(Struct, frozen=True):
    """What one answer is worth."""

    right: bool
    what: str
    fix: str = ""


ACCEPTED = (200, 204)
"""What Zoom takes for an answer; of a challenge, 200 only."""
_REFUSALS = (400, 401, 403)
_LET_IN = {
    Sent.FORGED: "Anybody can send webhooks there: verify x-zm-signature.",
    Sent.STALE: "Who has seen a webhook can send it again: refuse timestamps that are more than 300 s off.",
}


def judge(sent: Sent, answer: Answer, right: Mapping[str, str] | None = None) -> Judgement:
    """Judge an answer.

    :param right: what a challenge has to be answered with.
    """
    if sent in _LET_IN:
        if 200 <= answer.status < 300:
            return Judgement(False, f"the {sent} webhook was let in", _LET_IN[sent])
        if answer.status not in _REFUSALS:
            return Judgement(False, f"the {sent} webhook was not refused with 401", "Is the path right?")
        return Judgement(True, f"the {sent} webhook was refused")
    if answer.status not in (ACCEPTED[:1] if sent is Sent.CHALLENGE else ACCEPTED):
        fix = "Is the path right, and the secret token the same there?"
        again = "" if sent is Sent.CHALLENGE else ", and sends the webhook again"
        return Judgement(False, f"Zoom wants 200{again}", fix)
    if sent is Sent.CHALLENGE and (wrong := _wrong_answer(answer.body, right or {})) is not None:
        return wrong
    if answer.took_s > ANSWER_S:
        fix = "Answer first, and work then."
        return Judgement(False, f"too late: Zoom waits {ANSWER_S:.0f} s", fix)
    return Judgement(True, "the challenge was answered correctly" if sent is Sent.CHALLENGE else "accepted")


def _wrong_answer(body: bytes, right: Mapping[str, str]) -> Judgement | None:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Judgement(False, "the challenge's answer is no JSON object", "Answer plainToken and encryptedToken.")
    if found.get("plainToken") != right.get("plainToken"):
        return Judgement(False, "the answer's plainToken is not the challenge's", "Answer with the one that came.")
    if found.get("encryptedToken") != right.get("encryptedToken"):
        fix = "It has another secret token, or it does not answer in hex HMAC-SHA256 of the plainToken."
        return Judgement(False, "the answer's encryptedToken is wrong", fix)
    return None
