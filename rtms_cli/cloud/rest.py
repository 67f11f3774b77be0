"""Starting and stopping streams by Zoom's REST API: what is asked, and what each answer means (PROTOCOL §12).

Pure: `station.control` does the asking.
"""

import base64
import hashlib
import hmac
import unicodedata
from enum import StrEnum
from urllib.parse import parse_qs, quote, urlsplit

from msgspec import Struct

from rtms_cli.cloud.addresses import PUBLIC
from rtms_cli.cloud.answers import Told
from rtms_cli.errors import Exit, Problem
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.strict_json import dumps

JWT_LIFE_S = 600
"""How long a token of the Video SDK is good for; Zoom takes at most an hour."""
_SKEW_S = 30
"""How far back its time of issue is put: a clock may be ahead of Zoom's."""
_DIGITS = range(8, 16)
_LONGEST_ID = 500
_NUMBERED = (Product.MEETING, Product.WEBINAR)
_BETWEEN_DIGITS = " -\u2010\u2011\u2012\u2013\u2014\t"
_RESULT = "rtms_app/status"


class Action(StrEnum):
    """What can be asked for."""

    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    STATUS = "status"


class Target(Struct, frozen=True):
    """What streams: a meeting, a session, a call."""

    product: Product
    id: str
    """A meeting number without blanks, or the id as it was given."""

    def __str__(self) -> str:
        return f"{_NAMES[self.product]} {self.id}"


class Order(Struct, frozen=True):
    """What to do with it."""

    target: Target
    action: Action
    client_id: str = ""
    """The app that streams, for meetings, webinars and Contact Center."""
    participant: str = ""
    """Whose stream it is, for meetings and webinars; empty is the token's user."""


class Call(Struct, frozen=True):
    """An HTTP request, but for its token."""

    method: str
    url: str
    body: bytes = b""


class Kind(StrEnum):
    """What to do about an error."""

    NOT_YET = "not yet"
    """It may work soon: the meeting is not in progress for Zoom."""
    TEMPORARY = "temporary"
    """It may work later."""
    TOKEN = "token"  # noqa: S105 - a word
    """Another token may do."""
    FINAL = "final"
    """It will not work unless something is changed."""


class RestError(Problem):
    """Zoom refused an order, or someone else answered.

    :param told: the answer.
    """

    def __init__(self, what: str, remedy: str, kind: Kind, told: Told) -> None:
        super().__init__(what, remedy, Exit.REFUSED)
        self.kind = kind
        self.told = told


def read_target(given: str, product: Product) -> Target:
    """Read what a person gave for an id.

    :param given: for a meeting or webinar its number, with blanks or dashes, or the URL that people join by.
    :raises Problem: if it is not valid.
    """
    text = given.strip()
    if product in _NUMBERED:
        return Target(product, _number(text))
    if not text or text in (".", "..") or len(text) > _LONGEST_ID or not text.isprintable():
        raise Problem(f"{_shown(given)} is not valid as the {_ID_NAMES[product]}.", _ID_HINTS[product])
    return Target(product, text)


def rest_call(order: Order, api: str) -> Call:
    """The request that an order takes.

    :param api: what the URLs of REST calls begin with.
    :raises Problem: if there is no such request, or something is missing.
    """
    target, action = order.target, order.action
    check_order(order)
    if action is Action.STATUS:
        return Call("GET", f"{api}/{_path(target)}")
    body: dict[str, object] = {"action": action.value}
    settings: dict[str, str] = {}
    if target.product in _WITH_APP:
        settings["client_id"] = str(order.client_id)  # not a `Secret`, which cannot be encoded
    if order.participant:
        settings["participant_user_id"] = order.participant
    if settings:
        body["settings"] = settings
    method = "PUT" if target.product is Product.CONTACT_CENTER else "PATCH"
    return Call(method, f"{api}/{_path(target)}", dumps(body))


def check_order(order: Order) -> None:
    """Check that Zoom has such a request.

    :raises Problem: if it has none, or something is missing.
    """
    product, action = order.target.product, order.action
    name = _NAMES[product]
    if action is Action.STATUS and product is not Product.PHONE:
        raise Problem(
            f"Zoom has no status for a {name}'s stream, only for Phone.",
            "`rtms listen` shows what Zoom's webhooks say; for Phone, use --product phone.",
        )
    if action in (Action.PAUSE, Action.RESUME) and product is Product.PHONE:
        raise Problem(f"A phone call's stream cannot be {action}d.", "Zoom supports only start and stop for Phone.")
    if order.participant and product not in _NUMBERED:
        raise Problem(f"--participant does not apply to a {name}.", "Leave it out: it is for meetings and webinars.")
    if product in _WITH_APP and not order.client_id:
        raise Problem(
            "Which app should stream?",
            "Give its client id: --client-id, or ZOOM_CLIENT_ID with ZOOM_CLIENT_SECRET in the environment or in .env.",
        )


def scope_of(order: Order) -> str:
    """The scope that a token needs for an order; empty for the Video SDK, which has none."""
    match order.target.product:
        case Product.VIDEO_SDK:
            return ""
        case Product.CONTACT_CENTER:
            return "contact_center:update:engagement_rtms_app_status:admin"
        case Product.PHONE:
            return "phone:read:rtms_session" if order.action is Action.STATUS else "phone:write:rtms_session"
    return "meeting:update:participant_rtms_app_status (or the same with :admin)"


def sdk_token(key: str, secret: str, now_s: float) -> Secret:
    """A token for the Video SDK's REST calls: a JWT, by the API secret.

    :param key: the API key, which is not the SDK key.
    :param now_s: the time, as Unix seconds.
    """
    issued = int(now_s) - _SKEW_S
    head = _segment(dumps({"alg": "HS256", "typ": "JWT"}))
    claims = _segment(dumps({"iss": str(key), "iat": issued, "exp": issued + JWT_LIFE_S}))
    signed = head + b"." + claims
    proof = _segment(hmac.new(secret.encode("utf-8", "replace"), signed, hashlib.sha256).digest())
    return Secret((signed + b"." + proof).decode())


def read_result(told: Told, order: Order, base: str = PUBLIC) -> None:
    """Judge an answer; where nothing is raised, Zoom took the order.

    :param base: what Zoom's hosts end with.
    :raises RestError: for every other answer.
    """
    if 200 <= told.status < 300 and not (told.is_page or (told.is_json and _is_error(told))):
        return
    what, remedy, kind = _judged(told, order, base)
    raise RestError(f"Zoom does not {order.action} {order.target}: {told.named()}: {what}.", remedy, kind, told)


def _is_error(told: Told) -> bool:
    """Whether a 2xx says in its body that it is an error anyway: an API gateway may do that."""
    return told.code is not None and told.code >= 300 and bool(told.words)


def _judged(told: Told, order: Order, base: str) -> tuple[str, str, Kind]:
    """What an error means, what to do about it, and what follows."""
    if told.code is not None and (known := _by_code(told.code, order, base)) is not None:
        return known
    product = order.target.product
    if told.is_temporary:
        why = "there were too many requests" if told.status == 429 else "something is wrong on Zoom's side"
        when = "later" if told.retry_after_s is None else f"in {told.retry_after_s:.0f} s"
        return why, f"Try again {when}; --wait TIME does that.", Kind.TEMPORARY
    if told.is_page or told.status < 400:
        return "the answer is not Zoom's", "Check proxies, ZOOM_API_URL and --cloud-url: `rtms doctor`.", Kind.FINAL
    match told.status:
        case 401:
            return _token_refused(product)
        case 403:
            return (
                "the host's or the account's settings do not allow it",
                _sharing(base),
                Kind.FINAL if product is Product.VIDEO_SDK else Kind.TOKEN,
            )
        case 404:
            return _not_found(order.target, "there is none, or not in this account")
        case 400 | 422:
            return (
                "something in the request is wrong",
                f"Check the id: it has to be the {_ID_NAMES[product]}.",
                Kind.FINAL,
            )
    return "the answer is not documented", "Send its tracking ID to Zoom's support.", Kind.FINAL


def _by_code(code: int, order: Order, base: str) -> tuple[str, str, Kind] | None:
    product = order.target.product
    match code:
        case 2308:
            whose = f"user {order.participant} (--participant)" if order.participant else "the token's user"
            return (
                f"{whose} is neither its host nor an alternative host",
                "Give the host's user id with --participant, or take a token of the host's; an alternative host has "
                "to be in the meeting, and so has an invited participant.",
                Kind.TOKEN,
            )
        case 2310:
            return (
                "the account may not stream",
                "Its Developer Pack (or trial) is missing or has expired; Basic accounts have none.",
                Kind.FINAL,
            )
        case 3000:
            return (
                "it is not in progress yet",
                "Start the meeting. --wait TIME keeps trying for longer.",
                Kind.NOT_YET,
            )
        case 13262:
            return "the app may not access the meeting's content", _sharing(base), Kind.FINAL
        case 124:
            return _token_refused(product)
        case 4700 | 4711:
            scope = scope_of(order)
            return (
                "the token lacks a scope, or is not valid",
                f"Add {scope} (Marketplace → the app that gives the token → Scopes), then add the app again; or take "
                "another app's token with --token-flow."
                if scope
                else _token_refused(product)[1],
                Kind.TOKEN,
            )
        case 1001 | 1010:
            return (
                "there is no such user in the account",
                "Check --participant; a token of another account's app cannot see this account's users.",
                Kind.TOKEN,
            )
        case 3001:
            return _not_found(order.target, "there is none, or it has ended")
        case 200:
            return "the account, its plan or the user may not do that", _sharing(base), Kind.TOKEN
        case 300:
            return (
                "something in the request is not valid",
                f"Check the id (the {_ID_NAMES[product]}), and at --client-id: {order.client_id or 'none'}.",
                Kind.FINAL,
            )
    return None


def _token_refused(product: Product) -> tuple[str, str, Kind]:
    if product is Product.VIDEO_SDK:
        return (
            "Zoom does not accept the JWT",
            "Compare ZOOM_VIDEO_SDK_API_KEY and its secret (API keys, not SDK keys) with the Video SDK's account; "
            "`rtms doctor` compares the clocks.",
            Kind.FINAL,
        )
    return (
        "the token is no longer valid, or never was",
        "Ask again; ZOOM_ACCESS_TOKEN lives an hour. Or use another one with --token-flow.",
        Kind.TOKEN,
    )


def _not_found(target: Target, why: str) -> tuple[str, str, Kind]:
    return why, f"{_ID_HINTS[target.product]} Or take a token of the account that it is in.", Kind.TOKEN


def _sharing(base: str) -> str:
    return (
        f"{base}/profile/setting → Zoom Apps → “Share realtime meeting content with apps”: on, for the host and in the "
        "account (Account Management → Account Settings); the app is added by the user whose stream it is."
    )


def _number(text: str) -> str:
    """A meeting number out of what people write, copy and click.

    :raises Problem: if there is none.
    """
    hint = _ID_HINTS[Product.MEETING]
    if "://" in text or "." in text.partition("/")[0]:
        found = _number_in_url(text if "://" in text else f"https://{text}")
        if found is None:
            raise Problem("The URL has no meeting number in it; a personal link has none.", hint)
        return found
    plain = unicodedata.normalize("NFKC", text)
    digits = "".join(char for char in plain if char not in _BETWEEN_DIGITS)
    if digits.isascii() and digits.isdigit() and len(digits) in _DIGITS:
        return digits
    if len(text) >= 20 and any(char.isalpha() for char in text):
        raise Problem(f"{_shown(text)} is a meeting's UUID, and Zoom needs its number here.", hint)
    raise Problem(f"{_shown(text)} is not a meeting number.", hint)


def _number_in_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        segments = [*parts.path.split("/"), *parse_qs(parts.query).get("confno", [])]
    except ValueError:
        return None
    numbers = (segment.replace("-", "") for segment in segments)
    return next((one for one in numbers if one.isascii() and one.isdigit() and len(one) in _DIGITS), None)


def _path(target: Target) -> str:
    encoded = quote(target.id, safe="")
    match target.product:
        case Product.VIDEO_SDK:
            twice = quote(encoded, safe="") if "/" in target.id else encoded
            return f"videosdk/sessions/{twice}/{_RESULT}"
        case Product.CONTACT_CENTER:
            return f"contact_center/{encoded}/{_RESULT}"
        case Product.PHONE:
            return f"phone/calls/{encoded}/{_RESULT}"
    return f"live_meetings/{encoded}/{_RESULT}"


def _segment(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")


_WITH_APP = (*_NUMBERED, Product.CONTACT_CENTER)
_NAMES = {
    Product.MEETING: "meeting",
    Product.WEBINAR: "webinar",
    Product.VIDEO_SDK: "session",
    Product.CONTACT_CENTER: "engagement",
    Product.PHONE: "phone call",
}
_ID_NAMES = {
    Product.MEETING: "meeting number",
    Product.WEBINAR: "webinar number",
    Product.VIDEO_SDK: "session id",
    Product.CONTACT_CENTER: "engagement id",
    Product.PHONE: "call id",
}
_NUMBER_HINT = (
    "Use the number that people join with, such as 855 1234 5678, or the URL: https://…/j/85512345678. In "
    "webhooks it is called meeting_id; meeting_uuid is something else."
)
_ID_HINTS = {
    Product.MEETING: _NUMBER_HINT,
    Product.WEBINAR: _NUMBER_HINT,
    Product.VIDEO_SDK: "Give the session's id: session_id in webhooks, not the session's name.",
    Product.CONTACT_CENTER: "Give the engagement's id: engagement_id in webhooks.",
    Product.PHONE: "Give the call's id: call_id in webhooks.",
}
