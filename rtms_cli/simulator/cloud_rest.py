"""The REST API of the stand-in's cloud: a request becomes an answer, and what is to be done (PROTOCOL §12).

As in Zoom's: an answer has hardly a body and comes at once, and the started webhook comes when it comes. What the
documents leave open, and how it is here: meetings and sessions are answered 202, Contact Center and Phone 204; what is
asked for and is so already is answered the same, and only noted.
"""

import base64
import binascii
import hmac
import re
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from msgspec import Struct

from rtms_cli.protocol.numbers import Product, whole
from rtms_cli.protocol.strict_json import loads
from rtms_cli.simulator.cloud_app import (
    CONTACT_CENTER_SCOPE,
    MEETING_SCOPE,
    PHONE_READ_SCOPE,
    PHONE_WRITE_SCOPE,
    CloudApp,
    Find,
    refused,
    told,
)
from rtms_cli.simulator.cloud_tokens import TokenOffice, Worth
from rtms_cli.simulator.host import Action
from rtms_cli.wire.http import Answer, Fields, Request

LONGEST_JWT_S = 3600
"""How long after `iat` the end of a JWT may be."""
CLOCKS_APART_S = 60
"""How far the clock of who made a JWT may be ahead."""
RETRY_AFTER_S = 2
"""What 429 and 503 ask to wait."""


class Subject(Struct):
    """What a stream is of: a meeting, a webinar, a session, an engagement or a call."""

    product: Product
    name: str
    """What calls name it by: a meeting's number, or the id."""
    identity: str
    """The id in webhooks."""
    status: str = "stopped"
    """`started`, `paused` or `stopped`, as far as calls have it."""


class _Route(Struct, frozen=True):
    """One row of the calls."""

    pattern: re.Pattern[str]
    products: tuple[Product, ...]
    method: str
    read_scope: str
    write_scope: str
    actions: tuple[Action, ...]
    status: int
    has_settings: bool


_EVERY = tuple(Action)
_ROUTES = (
    _Route(
        re.compile(r"/v2/live_meetings/([^/]+)/rtms_app/status"),
        *((Product.MEETING, Product.WEBINAR), "PATCH", "", MEETING_SCOPE, _EVERY, 202, True),
    ),
    _Route(
        re.compile(r"/v2/videosdk/sessions/([^/]+)/rtms_app/status"),
        *((Product.VIDEO_SDK,), "PATCH", "", "", _EVERY, 202, False),
    ),
    _Route(
        re.compile(r"/v2/contact_center/([^/]+)/rtms_app/status"),
        *((Product.CONTACT_CENTER,), "PUT", "", CONTACT_CENTER_SCOPE, _EVERY, 204, True),
    ),
    _Route(
        re.compile(r"/v2/phone/calls/([^/]+)/rtms_app/status"),
        *((Product.PHONE,), "PATCH", PHONE_READ_SCOPE, PHONE_WRITE_SCOPE, (Action.START, Action.STOP), 204, False),
    ),
)

_ERRORS: dict[int, tuple[int, int, str]] = {
    124: (401, 124, "Invalid access token."),
    401: (401, 124, "Invalid access token."),
    2308: (400, 2308, "The user is neither the host nor an alternative host of the meeting."),
    3000: (400, 3000, "The meeting is not in progress."),
    4711: (400, 4711, "Invalid access token, does not contain the scopes that are needed."),
    13262: (400, 13262, "The app is not allowed to access meeting content."),
    403: (403, 403, "The host's settings do not allow the app to access meeting content."),
    404: (404, 3001, "Meeting does not exist."),
    429: (429, 429, "You have reached the maximum per-second rate limit for this API. Try again later."),
    500: (500, 500, "Internal server error."),
    502: (502, 502, "Bad gateway."),
    503: (503, 503, "Service unavailable."),
}
"""HTTP status, code and words of the errors that a scenario can ask for."""

Act = Callable[[Subject, Action, str], None]
"""Does what a call asks for; the third is `participant_user_id`, or nothing."""


class RestApi:
    """Answers calls.

    :param subjects: what there is to stream.
    :param act: does what was asked for, when the answer is on its way.
    """

    def __init__(self, app: CloudApp, tokens: TokenOffice, subjects: Sequence[Subject], act: Act, find: Find) -> None:
        self._app = app
        self._tokens = tokens
        self._subjects = subjects
        self._act = act
        self._find = find
        self._failures: deque[int] = deque()
        self.calls = 0
        """That were answered with success."""
        self.refused = 0

    def fail_next(self, error: int, times: int) -> None:
        """Answer the next calls with an error: one of Zoom's, or an HTTP status."""
        self._failures.extend([error] * times)

    def answer(self, request: Request, at_us: int, wall_s: float) -> Answer:
        """Answer a call.

        :param at_us: the time on the clock of tokens.
        :param wall_s: the time as Unix seconds, which JWTs have.
        """
        answer = self._answer(request, at_us, wall_s)
        if answer.status < 300:
            self.calls += 1
        else:
            self.refused += 1
        return answer

    def _answer(self, request: Request, at_us: int, wall_s: float) -> Answer:
        path = request.target.partition("?")[0]
        matches = ((route, route.pattern.fullmatch(path)) for route in _ROUTES)
        route, match = next(((route, match) for route, match in matches if match is not None), (None, None))
        if route is None or match is None:
            self._find("rest", f"{request.method[:10]} {_shown(path)} is no call about streams", True)
            return refused(404, 404, "No such API.")
        is_read = request.method == "GET" and bool(route.read_scope)
        if not is_read and request.method != route.method:
            self._find("rest", f"{request.method[:10]} {_shown(path)}: the method is {route.method}", True)
            return Answer(405, fields=((b"allow", route.method.encode()),))
        refusal = self._check_bearer(request, route.read_scope if is_read else route.write_scope, at_us, wall_s)
        if refusal is not None:
            return refusal
        if self._failures:
            return _failure(self._failures.popleft())
        subject = self._subject(route, match[1])
        if subject is None:
            return refused(404, 3001, f"{'Meeting' if Product.MEETING in route.products else 'It'} does not exist.")
        if is_read:
            return told(200, {"id": subject.identity, "status": subject.status})
        return self._do(request, route, subject)

    def _do(self, request: Request, route: _Route, subject: Subject) -> Answer:
        action, participant, wrong = self._read(request.body, route)
        if action is None:
            self._find("rest", wrong, True)
            return told(400, {"code": 300, "message": "Validation Failed.", "errors": [{"message": wrong}]})
        wanted = {Action.START: "started", Action.STOP: "stopped", Action.PAUSE: "paused", Action.RESUME: "started"}
        if subject.status == wanted[action]:
            self._find("rest", f"{action} of what is {subject.status}", False)
            return Answer(route.status)
        if subject.status == "stopped" and action is not Action.START:
            self._find("rest", f"{action} of what was not started", False)
            return Answer(route.status)
        done = Action.RESUME if action is Action.START and subject.status == "paused" else action
        subject.status = wanted[action]
        return Answer(route.status, after=lambda: self._act(subject, done, participant))

    def _read(self, body: bytes, route: _Route) -> tuple[Action | None, str, str]:
        """What a body asks for: the action, `participant_user_id`, and what is wrong where there is no action."""
        try:
            given = loads(body)
        except ValueError as error:
            return None, "", f"the body is no JSON: {error}"
        if not isinstance(given, dict):
            return None, "", "the body is no JSON object"
        action, settings = given.get("action"), given.get("settings")
        if action not in route.actions:
            return None, "", f"'action' has to be one of {', '.join(route.actions)}"
        if not route.has_settings:
            if set(given) != {"action"}:
                self._find("rest", "'settings' is nothing that this call has", False)
            return Action(action), "", ""
        client_id = settings.get("client_id") if isinstance(settings, dict) else None
        if client_id != self._app.client_id:
            what = "is missing" if client_id is None else "is not the app that streams"
            return None, "", f"'settings.client_id' {what}"
        assert isinstance(settings, dict)
        participant = settings.get("participant_user_id", "")
        return Action(action), participant if isinstance(participant, str) else str(participant), ""

    def _subject(self, route: _Route, segment: str) -> Subject | None:
        """What a path's segment names."""
        once = unquote(segment)
        name = unquote(once) if Product.VIDEO_SDK in route.products else once
        if name != once and "/" not in name:
            self._find("rest", "an id was URL-encoded twice though it has no /", False)
        found = next((each for each in self._subjects if each.name == name and each.product in route.products), None)
        if found is not None and "/" in name and "/" in once:
            self._find("rest", "a session id with a / was URL-encoded once, not twice", True)
            return None
        return found

    # Who asks.

    def _check_bearer(self, request: Request, scope: str, at_us: int, wall_s: float) -> Answer | None:
        kind, _, token = (request.field(b"authorization") or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            self._find("rest", "a call without Authorization: Bearer", True)
            return refused(401, 124, "This API does not support client authentication without an access token.")
        if not scope:
            wrong = check_jwt(token, self._app.video_sdk_api, wall_s)
            if wrong:
                self._find("rest", f"the JWT {wrong}", True)
                return refused(401, 124, "Invalid access token.")
            return None
        worth = self._tokens.worth(token, at_us)
        if worth is not Worth.GOOD:
            self._find("rest", f"a call with a token that is {worth}", worth is not Worth.EXPIRED)
            return refused(401, 124, "Access token is expired." if worth is Worth.EXPIRED else "Invalid access token.")
        grant = self._tokens.grant(token)
        if grant is None or not {scope, f"{scope}:admin"} & set(grant.scopes):
            self._find("rest", f"a call with a token without the scope {scope}", False)
            return refused(400, 4711, f"Invalid access token, does not contain scopes:[{scope}, {scope}:admin].")
        return None


def check_jwt(token: str, pair: tuple[str, str] | None, wall_s: float) -> str:
    """What is wrong with a JWT of the Video SDK, to be read behind "the JWT"; empty where it is good.

    :param pair: API key and secret.
    :param wall_s: the time as Unix seconds.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return "is none: it has three parts"
    try:
        header, claims = (loads(_decoded(part)) for part in parts[:2])
        signature = _decoded(parts[2])
    except ValueError:
        return "is none: it cannot be read"
    if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") != "HS256":
        return "is not signed by HS256"
    key, secret = pair or ("", "")
    signed = f"{parts[0]}.{parts[1]}".encode()
    if not secret or not hmac.compare_digest(hmac.digest(secret.encode(), signed, "sha256"), signature):
        return "is not signed with the API secret"
    if claims.get("iss") != key:
        return "has an iss that is not the API key"
    iat, exp = whole(claims.get("iat")), whole(claims.get("exp"))
    if iat is None or exp is None:
        return "lacks iat or exp"
    if iat > wall_s + CLOCKS_APART_S:
        return "has an iat in the future"
    if exp <= wall_s:
        return "has expired"
    return "" if exp - iat <= LONGEST_JWT_S else "is good for more than an hour"


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _failure(error: int) -> Answer:
    status, code, words = _ERRORS.get(error, (error if 400 <= error < 600 else 400, error, "As a scenario says."))
    headers: Fields = ((b"retry-after", b"%d" % RETRY_AFTER_S),) if status in (429, 503) else ()
    return refused(status, code, words, headers)


def _shown(path: str) -> str:
    return path[:100] if path.isprintable() else ascii(path[:100])[1:-1]
