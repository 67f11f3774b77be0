"""Builds webhook bodies of every kind (PROTOCOL §2)."""

from collections.abc import Mapping

from msgspec import Struct

from rtms_cli.protocol.messages import dumps, loads
from rtms_cli.protocol.numbers import Product

VALIDATION = "endpoint.url_validation"

CONTROL = "/simulator/events"
"""Path of the simulated cloud that accepts an event for its event WebSocket."""
CONTROL_FIELD = "x-rtms-simulator"
"""A header that requests to that path require, because web pages cannot send it."""

_EVENTS = {
    Product.MEETING: "meeting.rtms_{}",
    Product.WEBINAR: "webinar.rtms_{}",
    Product.VIDEO_SDK: "session.rtms_{}",
    Product.CONTACT_CENTER: "contact_center.voice_rtms_{}",
    Product.PHONE: "phone.rtms_{}",
}


def stream_event(product: Product, what: str) -> str:
    """Return the name of a product's event: `started`, `stopped` or `interrupted`."""
    return _EVENTS[product].format(what)


def webhook_body(event: str, event_ts: int, payload: Mapping[str, object]) -> bytes:
    """Return a webhook's body.

    :param event_ts: when it happened, in ms.
    """
    return dumps({"event": event, "event_ts": event_ts, "payload": payload})


class Ids(Struct, frozen=True):
    """The ids in a webhook about a stream."""

    product: Product
    id: str
    stream_id: str
    server_urls: str


def stream_payload(ids: Ids, what: str, reason: int | None = None) -> dict[str, object]:
    """Return the payload of `started`, `stopped` or `interrupted`."""
    payload: dict[str, object] = {
        "account_id": "simulated-account",
        ids.product.id_field: ids.id,
        "rtms_stream_id": ids.stream_id,
    }
    if ids.product is Product.VIDEO_SDK:
        payload["session_key"] = "simulated-key"
    if what == "started":
        payload |= {"operator_id": "simulated-operator", "server_urls": ids.server_urls}
    if reason is not None:
        payload["stop_reason"] = reason
    return payload


CONCURRENCY: dict[str, dict[str, object]] = {
    "rtms.concurrency_near_limit": {"concurrency_limit": 2000, "concurrency_number": 1601, "percentage": 80},
    "rtms.concurrency_limited": {
        "operator_id": "simulated-operator",
        "concurrency_number": 2000,
        "id_field": {"meeting_uuid": "simulated-meeting=="},
    },
}
"""Payloads of the warnings about too many concurrent streams."""


def control_fields() -> dict[str, str]:
    """Return the headers of a request to `CONTROL`."""
    return {"content-type": "application/json", CONTROL_FIELD: "trigger"}


def control_answer(connections: int, delay_s: float) -> dict[str, object]:
    """Return the answer's body: how many connections receive the event, and its delay."""
    return {"connections": connections, "delay_s": delay_s}


def read_control(status: int, body: bytes) -> tuple[int, float] | None:
    """Read that answer, or return `None` if it has another form."""
    try:
        told = loads(body)
    except ValueError:
        return None
    connections, delay_s = (told.get("connections"), told.get("delay_s")) if isinstance(told, dict) else (None, None)
    if status != 200 or not isinstance(connections, int) or not isinstance(delay_s, int | float):
        return None
    return connections, float(delay_s)
