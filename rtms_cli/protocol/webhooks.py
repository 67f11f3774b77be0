"""What Zoom posts to us: one body, in any of its shapes, becomes one of a few values (PROTOCOL §2)."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from rtms_cli.protocol.messages import Signature, loads, text_or_none
from rtms_cli.protocol.numbers import Product, StopReason
from rtms_cli.protocol.times import LAST_MS, milliseconds

ACCEPTED = (200, 204)
"""The HTTP statuses that Zoom takes for an answer to a webhook; to a challenge, 200 only."""
ANSWER_S = 3.0
"""How long Zoom waits for that answer."""


class Stream(Struct, frozen=True):
    """What Zoom announces: one stream of one meeting, call or session."""

    product: Product
    id: str
    stream_id: str
    server_url: str
    """The signaling server's `ws://` or `wss://` URL."""
    event_ts: int | None = None
    """When it happened, in ms on Zoom's clock; tells a failover from a retry."""
    signature: Signature | None = None
    """A ready-made handshake signature, where the payload has one."""
    server_urls: object = None
    """`server_urls` as it came, to compare with the next."""

    def is_retry_of(self, earlier: "Stream") -> bool:
        """Whether this is the same announcement again rather than a failover (PROTOCOL §2)."""
        times = {self.event_ts, earlier.event_ts} - {None}
        return len(times) <= 1 and self.server_urls == earlier.server_urls

    def is_older_than(self, other: "Stream") -> bool:
        """Whether this announcement is news from the past; see `is_older`."""
        return is_older(self.event_ts, other.event_ts)

    def product_ids(self) -> dict[str, str]:
        """The product's own id field, which goes into handshakes beside `meeting_uuid` (PROTOCOL §4)."""
        if self.product in (Product.CONTACT_CENTER, Product.PHONE):
            return {self.product.id_field: self.id}
        return {}


class Ids(Struct, frozen=True):
    """What a handshake's signature is made of, and what people confuse it with."""

    product: Product
    id: str
    stream_id: str
    signature: Signature | None = None
    """A ready-made one, where the payload has it."""
    number: str | None = None
    """The meeting's or webinar's number, which signs nothing."""


class StreamStart(Struct, frozen=True):
    """`…rtms_started`: a stream is there, or is there again at another server."""

    stream: Stream


class StreamStop(Struct, frozen=True):
    """`…rtms_stopped`."""

    product: Product
    stream_id: str
    reason: int | None
    event_ts: int | None = None


class StreamInterrupted(Struct, frozen=True):
    """`…rtms_interrupted`: the signaling connection was lost; it may name where to come back."""

    product: Product
    stream_id: str
    server_url: str | None = None
    event_ts: int | None = None


class UrlValidation(Struct, frozen=True):
    """`endpoint.url_validation`: Zoom asks whether this endpoint is ours."""

    plain_token: str


class OtherWebhook(Struct, frozen=True):
    """An event that starts and stops nothing; worth showing."""

    event: str
    stream_id: str | None = None


class UnreadableWebhook(Struct, frozen=True):
    """A body that is no webhook, with the reason for people."""

    problem: str


Webhook = StreamStart | StreamStop | StreamInterrupted | UrlValidation | OtherWebhook | UnreadableWebhook

_EVENT = re.compile(r"(?P<product>[a-z_]+)\.(?:voice_|call_)?rtms_(?P<what>started|stopped|interrupted)")
_PRODUCTS = {product.value: product for product in Product} | {"contactcenter": Product.CONTACT_CENTER}
_ID_FIELDS = {
    Product.MEETING: ("meeting_uuid",),
    Product.WEBINAR: ("meeting_uuid", "webinar_uuid"),
    Product.VIDEO_SDK: ("session_id", "session_key"),
    Product.CONTACT_CENTER: ("engagement_id",),
    Product.PHONE: ("call_id",),
}
_LONGEST_ID = 10_000


def read_webhook(body: bytes) -> Webhook:
    """Read a webhook's body. Total: any bytes give a value, and nothing is raised."""
    try:
        posted = loads(body)
    except ValueError as error:
        return UnreadableWebhook(str(error))
    if not isinstance(posted, dict) or not isinstance(event := posted.get("event"), str):
        return UnreadableWebhook("no webhook: a JSON object with an 'event' is expected")
    payload = _flat(posted.get("payload"))
    if event == "endpoint.url_validation":
        token = payload.get("plainToken")
        if isinstance(token, str) and token:
            return UrlValidation(token)
        return UnreadableWebhook("endpoint.url_validation without payload.plainToken")
    known = _EVENT.fullmatch(event)
    product = _PRODUCTS.get(known["product"]) if known else None
    if known is None or product is None:
        return OtherWebhook(event, text_or_none(payload.get("rtms_stream_id")))
    try:
        if known["what"] == "started":
            return StreamStart(_stream(product, payload, event_ms(posted.get("event_ts"))))
        stream_id = _text(payload, "rtms_stream_id")
    except ValueError as error:
        return UnreadableWebhook(f"{event}: {error}")
    if known["what"] == "stopped":
        reason = StopReason.find(payload.get("stop_reason", payload.get("reason")))
        return StreamStop(product, stream_id, reason, event_ms(posted.get("event_ts")))
    return StreamInterrupted(
        product, stream_id, first_url(payload.get("server_urls")), event_ms(posted.get("event_ts"))
    )


def read_payload(text: bytes) -> Stream:
    """Read what a person saved or pasted: a whole webhook body, its payload, or the object in it.

    :raises ValueError: with a line that says what is missing.
    """
    posted = loads(text)
    if not isinstance(posted, dict):
        raise ValueError(f"a JSON object is expected, not a {type(posted).__name__}")
    if "event" in posted:
        match read_webhook(text):
            case StreamStart(stream):
                return stream
            case UnreadableWebhook(problem):
                raise ValueError(problem)
            case _:
                raise ValueError(f"{posted['event']} starts no stream: a …rtms_started webhook is expected")
    payload = _flat(posted.get("payload", posted))
    return _stream(_guess_product(payload), payload, event_ms(posted.get("event_ts")))


def event_ms(given: object) -> int | None:
    """Read an `event_ts` to milliseconds, whatever its unit; `None` where it names no moment."""
    found = milliseconds(given)
    return found if found is not None and 0 < found < LAST_MS else None


def is_older(event_ts: int | None, start_ts: int | None) -> bool:
    """Whether a webhook is older than a start: time decides, not the order of arrival (PROTOCOL §2).

    Both are of Zoom's clock; where one is missing, the webhook is news.
    """
    return event_ts is not None and start_ts is not None and event_ts < start_ts


def read_ids(text: bytes) -> Ids:
    """Read only what signs a handshake, from any webhook, payload or object that has it.

    :raises ValueError: with a line that says what is missing.
    """
    posted = loads(text)
    if not isinstance(posted, dict):
        raise ValueError(f"a JSON object is expected, not a {type(posted).__name__}")
    payload = _flat(posted.get("payload", posted))
    known = _EVENT.fullmatch(str(posted.get("event", "")))
    product = (_PRODUCTS.get(known["product"]) if known else None) or _guess_product(payload)
    number = payload.get("meeting_id", payload.get("webinar_id"))
    return Ids(
        product,
        _identity(product, payload),
        _text(payload, "rtms_stream_id"),
        _ready_made(payload),
        str(number) if isinstance(number, str | int) else None,
    )


def first_url(given: object) -> str | None:
    """The signaling URL of `server_urls`: of a string or list the first WebSocket URL, of an object the best key's."""
    if isinstance(given, Mapping):
        given = [given[key] for key in sorted(given, key=_url_rank)]
    flat: list[object] = []
    for one in given if isinstance(given, list) else [given]:
        flat += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else [one]
    for candidate in flat:
        for url in candidate.split(",") if isinstance(candidate, str) else ():
            if is_websocket_url(url.strip()):
                return url.strip()
    return None


_PREFERRED = ("signaling", "signal", "all")


def _url_rank(key: object) -> int:
    return _PREFERRED.index(key) if key in _PREFERRED else len(_PREFERRED)


def is_websocket_url(text: str) -> bool:
    """Whether a text is a `ws://` or `wss://` URL with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _flat(payload: object) -> dict[str, object]:
    """The payload's fields, wherever they stand: in it, or in its `object`."""
    if not isinstance(payload, dict):
        return {}
    inner = payload.get("object")
    return {**payload, **inner} if isinstance(inner, dict) else payload


def _identity(product: Product, payload: dict[str, object]) -> str:
    identity = next((value for name in _ID_FIELDS[product] if (value := payload.get(name))), None)
    if not isinstance(identity, str):
        raise ValueError(f"no {' or '.join(_ID_FIELDS[product])} in the payload")
    if len(identity) > _LONGEST_ID:
        raise ValueError(f"{_ID_FIELDS[product][0]} is {len(identity)} characters long")
    return identity


def _ready_made(payload: dict[str, object]) -> Signature | None:
    signature = payload.get("signature")
    return Signature(signature) if isinstance(signature, str) and signature else None


def _stream(product: Product, payload: dict[str, object], event_ts: int | None) -> Stream:
    identity = _identity(product, payload)
    urls = payload.get("server_urls")
    url = first_url(urls)
    if url is None:
        raise ValueError("no ws:// or wss:// URL in server_urls")
    return Stream(product, identity, _text(payload, "rtms_stream_id"), url, event_ts, _ready_made(payload), urls)


def _text(payload: dict[str, object], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"no {name} in the payload")
    if len(value) > _LONGEST_ID:
        raise ValueError(f"{name} is {len(value)} characters long")
    return value


def _guess_product(payload: dict[str, object]) -> Product:
    """The product of a payload without its event: told by the id that it has."""
    if "webinar_uuid" in payload or "webinar_id" in payload:
        return Product.WEBINAR
    for product, names in _ID_FIELDS.items():
        if any(name in payload for name in names):
            return product
    raise ValueError("no id in the payload: meeting_uuid, session_id, engagement_id or call_id is expected")
