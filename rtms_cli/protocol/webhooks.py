"""What Zoom posts to us: one body, in any of its shapes, becomes one of a few values (PROTOCOL §2)."""

import re
from hashlib import sha256

from msgspec import Struct, structs

from rtms_cli.protocol.fields import LONGEST_ID, id_or_none, name_or_none, truth_or_none
from rtms_cli.protocol.numbers import Product, StopReason, as_int
from rtms_cli.protocol.signatures import Signature
from rtms_cli.protocol.strict_json import dumps, loads
from rtms_cli.protocol.times import LAST_MS, milliseconds
from rtms_cli.protocol.urls import every_url, first_url

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
    """`server_urls` as it came, to compare with the next; of a very long one only the URLs."""
    own_ids: dict[str, str] = {}
    """The product's own id field, by its name, where the webhook has one beside or instead of `meeting_uuid`."""
    session_key: str | None = None
    """What the Video SDK's app calls the session, where the webhook says so."""
    is_original_host: bool | None = None
    """Whether it is the stream of the meeting's host; `None` if the webhook does not say."""
    operator_id: str | None = None
    """Whose app it streams to, where the webhook says so; at most 200 characters."""
    number: str | None = None
    """The number that people join the meeting or webinar by, where the webhook says so, without blanks and dashes."""

    def is_retry_of(self, earlier: "Stream") -> bool:
        """Whether this is the same announcement again rather than a failover (PROTOCOL §2)."""
        times = {self.event_ts, earlier.event_ts} - {None}
        return len(times) <= 1 and self.server_urls == earlier.server_urls

    def is_older_than(self, other: "Stream") -> bool:
        """Whether this announcement is news from the past; see `is_older`."""
        return is_older(self.event_ts, other.event_ts)

    def after(self, earlier: "Stream | None") -> "Stream":
        """Itself in the place of an earlier announcement: without a time of its own it is the later one."""
        if self.event_ts is not None or earlier is None or earlier.event_ts is None:
            return self
        return structs.replace(self, event_ts=earlier.event_ts + 1)

    def product_ids(self) -> dict[str, str]:
        """The product's own id field, which goes into handshakes beside `meeting_uuid` (PROTOCOL §4)."""
        own = _ID_FIELDS[self.product][0]
        return self.own_ids or ({} if own == "meeting_uuid" else {own: self.id})


class Ids(Struct, frozen=True):
    """What a handshake's signature is made of, and what people confuse it with."""

    product: Product
    id: str
    stream_id: str
    signature: Signature | None = None
    """A ready-made one, where the payload has it."""
    others: dict[str, str] = {}
    """What else in the payload may have been taken for the id, by its name: `meeting_id`."""


class StreamStart(Struct, frozen=True):
    """`…rtms_started`: a stream is there, or is there again at another server."""

    stream: Stream


class StreamStop(Struct, frozen=True):
    """`…rtms_stopped`."""

    product: Product
    stream_id: str
    reason: int | str | None
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
    says: str = ""
    """What it says, in words, where that is known."""


class UnreadableWebhook(Struct, frozen=True):
    """A body that is not a webhook, with the reason for people."""

    problem: str


Webhook = StreamStart | StreamStop | StreamInterrupted | UrlValidation | OtherWebhook | UnreadableWebhook

_EVENT = re.compile(r"(?P<product>[a-z_]+)\.(?:voice_|call_)?rtms_(?P<what>started|stopped|interrupted)")
_PRODUCTS = {product.value: product for product in Product} | {"contactcenter": Product.CONTACT_CENTER}
_ID_FIELDS = {
    Product.MEETING: ("meeting_uuid", "webinar_uuid"),
    Product.WEBINAR: ("meeting_uuid", "webinar_uuid"),
    Product.VIDEO_SDK: ("session_id", "session_key", "meeting_uuid"),
    Product.CONTACT_CENTER: ("engagement_id", "meeting_uuid"),
    Product.PHONE: ("call_id", "meeting_uuid"),
}
"""Where a product's id may stand, the first one wins. Zoom's older code calls it `meeting_uuid` for others too."""
_NOT_THE_ID = (
    *("meeting_id", "webinar_id", "meeting_uuid", "webinar_uuid", "session_id", "session_key", "session_name"),
    *("account_id", "operator_id", "host_id"),
)
_KINDS = {type(None): "null", list: "a list", str: "a text", bool: "true or false"}
_LONGEST_ID = 10_000
LONGEST_KEPT = 1 << 16
"""Bytes of a webhook that are kept as they came; real ones stay under 10 KiB."""
_READ = (
    *(name for names in _ID_FIELDS.values() for name in names),
    *("rtms_stream_id", "server_urls", "signature", "stop_reason", "reason"),
    *("account_id", "meeting_id", "webinar_id", "host_id", "operator_id", "is_original_host"),
)


def read_webhook(body: bytes) -> Webhook:
    """Read a webhook's body. Total: any bytes give a value, and nothing is raised."""
    try:
        posted = loads(body)
    except ValueError as error:
        return UnreadableWebhook(str(error))
    if not isinstance(posted, dict) or not isinstance(event := posted.get("event"), str):
        return UnreadableWebhook("not a webhook: a JSON object with an 'event' is expected")
    payload = _flat(posted.get("payload"))
    if event == "endpoint.url_validation":
        token = payload.get("plainToken")
        if token:  # of any type: a capture has a text in its place
            return UrlValidation(token if isinstance(token, str) else dumps(token).decode())
        return UnreadableWebhook("endpoint.url_validation without payload.plainToken")
    known = _EVENT.fullmatch(event)
    product = _PRODUCTS.get(known["product"]) if known else None
    if known is None or product is None:
        return OtherWebhook(event, id_or_none(payload.get("rtms_stream_id")), _in_words(event, payload))
    event_ts = event_ms(posted.get("event_ts"))
    try:
        if known["what"] == "started":
            return StreamStart(_stream(product, payload, event_ts))
        stream_id = _text(payload, "rtms_stream_id")
    except ValueError as error:
        return UnreadableWebhook(f"{event}: {error}")
    if known["what"] == "stopped":
        reasons = (StopReason.find_or_name(payload.get(name)) for name in ("stop_reason", "reason"))
        reason = next((reason for reason in reasons if reason is not None), None)
        return StreamStop(product, stream_id, reason, event_ts)
    return StreamInterrupted(product, stream_id, first_url(payload.get("server_urls")), event_ts)


def _in_words(event: str, payload: dict[str, object]) -> str:
    """What a webhook that starts and stops nothing says, for people."""
    named = payload.get("id_field")
    fields = payload | named if isinstance(named, dict) else payload
    names = ("meeting_uuid", "webinar_uuid", "session_id", "engagement_id", "call_id", "rtms_stream_id", "operator_id")
    whose = " ".join(f"{name} {text[:200]}" for name in names if (text := id_or_none(fields.get(name))))
    number, limit = as_int(fields.get("concurrency_number")), as_int(fields.get("concurrency_limit"))
    percentage = (name_or_none(fields.get("percentage")) or "").rstrip("% ")[:20]
    share = f" ({percentage} %)" if percentage else ""
    match event:
        case "rtms.concurrency_limited":
            running = "" if number is None else f", {number} are running"
            said = f"a stream does not start: the account may not have more streams at once{running}"
        case "rtms.concurrency_near_limit" if number is not None and limit is not None:
            said = f"{number} of {limit} streams at once{share}: more will soon not start"
        case "rtms.concurrency_near_limit":
            said = "the account will soon reach its limit of streams at once"
        case "rtms.start_failed":
            why = next((text for name in ("reason", "error", "message") if (text := id_or_none(fields.get(name)))), "")
            said = "a stream could not be started" + (f": {why[:200]}" if why else "")
        case _:
            return ""
    return f"{said}; {whose}" if whose else said


def shortened_webhook(body: bytes) -> bytes:
    """The body itself, or of one that is far too long what is read of it, with a note of what is not there.

    Each recording's capture holds its webhooks: who sends long ones could fill disks. What is left reads the same, but
    for a list of URLs that is too long by itself: then it is the first of them.
    """
    if len(body) <= LONGEST_KEPT:
        return body
    try:
        posted = loads(body)
    except ValueError:
        return body
    if not isinstance(posted, dict):
        return body
    payload = _flat(posted.get("payload"))
    kept = {name: payload[name] for name in _READ if name in payload and len(dumps(payload[name])) <= LONGEST_KEPT // 2}
    if "server_urls" in payload and "server_urls" not in kept:
        kept["server_urls"] = first_url(payload["server_urls"])
    note = f"{len(body)} bytes came, with the SHA-256 {sha256(body).hexdigest()}: the rest is left out"
    return dumps({"event": posted.get("event"), "event_ts": posted.get("event_ts"), "payload": kept, "rtms_note": note})


def read_payload(text: bytes) -> Stream:
    """Read what a person saved or pasted: a whole webhook body, its payload, or the object in it.

    :raises ValueError: with a line that says what is missing.
    """
    posted = _object(text)
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
    """Read an `event_ts` to milliseconds, whatever its unit; `None` if it names no moment."""
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
    posted = _object(text)
    payload = _flat(posted.get("payload", posted))
    known = _EVENT.fullmatch(str(posted.get("event", "")))
    product = (_PRODUCTS.get(known["product"]) if known else None) or _guess_product(payload)
    identity = _identity(product, payload)
    named = {name: id_or_none(payload.get(name)) for name in _NOT_THE_ID}
    others = {name: value for name, value in named.items() if value and value != identity}
    return Ids(product, identity, _text(payload, "rtms_stream_id"), _ready_made(payload), others)


def _object(text: bytes) -> dict[str, object]:
    posted = loads(text)
    if not isinstance(posted, dict):
        raise ValueError(f"a JSON object is expected, not {_KINDS.get(type(posted), 'a number')}")
    return posted


def _flat(payload: object) -> dict[str, object]:
    """The payload's fields, wherever they stand: in it, or in its `object`."""
    if not isinstance(payload, dict):
        return {}
    inner = payload.get("object")
    return {**payload, **inner} if isinstance(inner, dict) else payload


def _identity(product: Product, payload: dict[str, object]) -> str:
    found = _ids(product, payload)
    if not found:
        raise ValueError(f"no {' or '.join(_ID_FIELDS[product])} in the payload")
    name, identity = next(iter(found.items()))
    if len(identity) > _LONGEST_ID:
        raise ValueError(f"{name} is {len(identity)} characters long")
    return identity


def _ids(product: Product, payload: dict[str, object]) -> dict[str, str]:
    """The ids that a payload has, by their fields' names."""
    ids = {name: id_or_none(payload.get(name)) for name in _ID_FIELDS[product]}
    return {name: value for name, value in ids.items() if value}


def _ready_made(payload: dict[str, object]) -> Signature | None:
    signature = payload.get("signature")
    return Signature(signature) if isinstance(signature, str) and signature else None


def _stream(product: Product, payload: dict[str, object], event_ts: int | None) -> Stream:
    identity = _identity(product, payload)
    urls = payload.get("server_urls")
    url = first_url(urls)
    if url is None:
        raise ValueError("no ws:// or wss:// URL in server_urls")
    own = next(({name: value} for name, value in _ids(product, payload).items() if name != "meeting_uuid"), {})
    session_key = id_or_none(payload.get("session_key")) if product is Product.VIDEO_SDK else None
    stream_id, signature = _text(payload, "rtms_stream_id"), _ready_made(payload)
    told = urls if len(dumps(urls)) <= _LONGEST_ID else list(every_url(urls))  # streams are remembered
    is_host, operator = truth_or_none(payload.get("is_original_host")), id_or_none(payload.get("operator_id"))
    return Stream(
        *(product, identity, stream_id, url, event_ts, signature, told, own, session_key),
        is_original_host=is_host,
        operator_id=None if not operator else operator[:LONGEST_ID],
        number=_number(payload),
    )


def _number(payload: dict[str, object]) -> str | None:
    """A meeting's or webinar's number, which documents write with blanks, and webhooks as a text or a number."""
    given = (id_or_none(payload.get(name)) or "" for name in ("meeting_id", "webinar_id"))
    digits = ("".join(one[:LONGEST_ID].split()).replace("-", "") for one in given)
    return next((one for one in digits if one.isascii() and one.isdigit()), None)


def _text(payload: dict[str, object], name: str) -> str:
    value = id_or_none(payload.get(name))
    if not value:
        raise ValueError(f"no {name} in the payload")
    if len(value) > _LONGEST_ID:
        raise ValueError(f"{name} is {len(value)} characters long")
    return value


def _guess_product(payload: dict[str, object]) -> Product:
    """The product of a payload without its event: told by the id that it has. One that is null or empty is not one."""
    if payload.get("webinar_uuid") or payload.get("webinar_id"):
        return Product.WEBINAR
    for product, names in reversed(_ID_FIELDS.items()):
        if any(payload.get(name) not in (None, "") for name in names if name != "meeting_uuid"):
            return product
    if "meeting_uuid" in payload:
        return Product.MEETING
    raise ValueError("no id in the payload: meeting_uuid, session_id, engagement_id or call_id is expected")


def answer_fix(status: int) -> str:
    """What to do about an app that answers a webhook with this HTTP status, as a sentence for people."""
    return _STATUS_FIXES.get(status, _STATUS_FIXES.get(status // 100, "Answer with 200."))


_STATUS_FIXES = {
    204: "Answer a challenge with 200 and both tokens.",
    3: "Zoom does not follow redirects: use the URL that it points to, with https:// and the right trailing slash.",
    401: "Is the secret token the same there?",
    403: "Does something in front of the app, such as a firewall or a login, keep Zoom out?",
    404: "Is the path right?",
    405: "Does that path take POST?",
    4: "Is the path right, and the secret token the same there?",
    502: "Does the app run, and does the tunnel or proxy point at it?",
    504: "Does the app run, and does the tunnel or proxy point at it?",
    **dict.fromkeys((521, 522, 523, 530), "Does the app run, and does Cloudflare's tunnel point at it?"),
    5: "The app failed: its log says why.",
}
"""What to do about a status, or about those with its first digit."""
