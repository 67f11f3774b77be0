"""The REST API of the simulated cloud: turns a request into an answer and an action (PROTOCOL §12).

As with Zoom, answers arrive at once with almost no body, and the started webhook follows later. Where the documentation
leaves the behaviour open: calls for meetings and sessions return 202, those for Contact Center and Phone 204. A call
that changes nothing, because the stream is already in that state, succeeds and is only noted.
"""

import base64
import binascii
import hmac
import re
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from msgspec import Struct

from rtms_cli.protocol.numbers import Product, as_int
from rtms_cli.protocol.strict_json import loads
from rtms_cli.simulator.cloud_app import (
    CONTACT_CENTER_SCOPE,
    MEETING_SCOPE,
    PHONE_READ_SCOPE,
    PHONE_WRITE_SCOPE,
    CloudApp,
    Find,
    error_answer,
    json_answer,
)
from rtms_cli.simulator.cloud_tokens import TokenOffice, Worth
from rtms_cli.simulator.host import Action
from rtms_cli.wire.http import Answer, Fields, Request

LONGEST_JWT_S = 3600
"""Longest validity of a JWT after its `iat`."""
CLOCKS_APART_S = 60
"""How far ahead the clock of a JWT's issuer may be."""
RETRY_AFTER_S = 2
"""Seconds to wait, sent with 429 and 503."""


class Subject(Struct):
    """The subject of a stream: a meeting, webinar, session, engagement or call."""

    product: Product
    name: str
    """Its name in REST calls: a meeting number, or the id."""
    identity: str
    """The id in webhooks."""
    status: str = "stopped"
    """`started`, `paused` or `stopped`, as set by REST calls."""


class _Route(Struct, frozen=True):
    """One kind of REST call."""

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
"""HTTP status, code and message of the errors that a scenario can trigger."""

Act = Callable[[Subject, Action, str], None]
"""Carries out a call. The third argument is `participant_user_id` or empty."""


class RestApi:
    """Answers REST calls.

    :param subjects: what can be streamed.
    :param act: carries out the call once the answer is on its way.
    """

    def __init__(self, app: CloudApp, tokens: TokenOffice, subjects: Sequence[Subject], act: Act, find: Find) -> None:
        self._app = app
        self._tokens = tokens
        self._subjects = subjects
        self._act = act
        self._find = find
        self._failures: deque[int] = deque()
        self.calls = 0
        """Calls that succeeded."""
        self.refused = 0

    def fail_next(self, error: int, times: int) -> None:
        """Fail the next calls with one of Zoom's error codes or an HTTP status."""
        self._failures.extend([error] * times)

    def answer(self, request: Request, at_us: int, wall_s: float) -> Answer:
        """Answer a REST call.

        :param at_us: the current time on the tokens' clock.
        :param wall_s: the current time in Unix seconds, as in JWTs.
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
            self._find("rest", f"{request.method[:10]} {_shown(path)} is not a call about streams", True)
            return error_answer(404, 404, "No such API.")
        is_read = request.method == "GET" and bool(route.read_scope)
        if not is_read and request.method != route.method:
            self._find("rest", f"{request.method[:10]} {_shown(path)}: use {route.method}", True)
            return Answer(405, fields=((b"allow", route.method.encode()),))
        refusal = self._check_bearer(request, route.read_scope if is_read else route.write_scope, at_us, wall_s)
        if refusal is not None:
            return refusal
        if self._failures:
            return _failure(self._failures.popleft())
        subject = self._subject(route, match[1])
        if subject is None:
            return error_answer(
                404, 3001, f"{'Meeting' if Product.MEETING in route.products else 'It'} does not exist."
            )
        if is_read:
            return json_answer(200, {"id": subject.identity, "status": subject.status})
        return self._do(request, route, subject)

    def _do(self, request: Request, route: _Route, subject: Subject) -> Answer:
        action, participant, wrong = self._read(request.body, route)
        if action is None:
            self._find("rest", wrong, True)
            return json_answer(400, {"code": 300, "message": "Validation Failed.", "errors": [{"message": wrong}]})
        wanted = {Action.START: "started", Action.STOP: "stopped", Action.PAUSE: "paused", Action.RESUME: "started"}
        if subject.status == wanted[action]:
            self._find("rest", f"{action} was called on a stream that is {subject.status}", False)
            return Answer(route.status)
        if subject.status == "stopped" and action is not Action.START:
            self._find("rest", f"{action} was called on a stream that was not started", False)
            return Answer(route.status)
        done = Action.RESUME if action is Action.START and subject.status == "paused" else action
        subject.status = wanted[action]
        return Answer(route.status, after=lambda: self._act(subject, done, participant))

    def _read(self, body: bytes, route: _Route) -> tuple[Action | None, str, str]:
        """Return the action, `participant_user_id`, and what is wrong if there is no action."""
        try:
            given = loads(body)
        except ValueError as error:
            return None, "", f"the body is not valid JSON: {error}"
        if not isinstance(given, dict):
            return None, "", "the body is not a JSON object"
        action, settings = given.get("action"), given.get("settings")
        if action not in route.actions:
            return None, "", f"'action' has to be one of {', '.join(route.actions)}"
        if not route.has_settings:
            if set(given) != {"action"}:
                self._find("rest", "'settings' is not valid in this call", False)
            return Action(action), "", ""
        client_id = settings.get("client_id") if isinstance(settings, dict) else None
        if client_id != self._app.client_id:
            what = "is missing" if client_id is None else "is not the id of the streaming app"
            return None, "", f"'settings.client_id' {what}"
        assert isinstance(settings, dict)
        participant = settings.get("participant_user_id", "")
        return Action(action), participant if isinstance(participant, str) else str(participant), ""

    def _subject(self, route: _Route, segment: str) -> Subject | None:
        """Return the subject that a path segment names."""
        once = unquote(segment)
        name = unquote(once) if Product.VIDEO_SDK in route.products else once
        if name != once and "/" not in name:
            self._find("rest", "an id without / was URL-encoded twice", False)
        found = next((each for each in self._subjects if each.name == name and each.product in route.products), None)
        if found is not None and "/" in name and "/" in once:
            self._find("rest", "a session id with a / was URL-encoded once, not twice", True)
            return None
        return found

    # Authorization.

    def _check_bearer(self, request: Request, scope: str, at_us: int, wall_s: float) -> Answer | None:
        kind, _, token = (request.field(b"authorization") or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            self._find("rest", "a call has no Authorization: Bearer", True)
            return error_answer(401, 124, "This API does not support client authentication without an access token.")
        if not scope:
            wrong = check_jwt(token, self._app.video_sdk_api, wall_s)
            if wrong:
                self._find("rest", f"the JWT {wrong}", True)
                return error_answer(401, 124, "Invalid access token.")
            return None
        worth = self._tokens.worth(token, at_us)
        if worth is not Worth.GOOD:
            self._find("rest", f"a call used a token that is {worth}", worth is not Worth.EXPIRED)
            return error_answer(
                401, 124, "Access token is expired." if worth is Worth.EXPIRED else "Invalid access token."
            )
        grant = self._tokens.grant(token)
        if grant is None or not {scope, f"{scope}:admin"} & set(grant.scopes):
            self._find("rest", f"a call used a token without the scope {scope}", False)
            return error_answer(400, 4711, f"Invalid access token, does not contain scopes:[{scope}, {scope}:admin].")
        return None


def check_jwt(token: str, pair: tuple[str, str] | None, wall_s: float) -> str:
    """Return what is wrong with a Video SDK JWT, as the end of a sentence that begins "the JWT"; empty if it is valid.

    :param pair: API key and secret.
    :param wall_s: the time as Unix seconds.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return "does not have three parts"
    try:
        header, claims = (loads(_decoded(part)) for part in parts[:2])
        signature = _decoded(parts[2])
    except ValueError:
        return "cannot be decoded"
    if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") != "HS256":
        return "is not signed with HS256"
    key, secret = pair or ("", "")
    signed = f"{parts[0]}.{parts[1]}".encode()
    if not secret or not hmac.compare_digest(hmac.digest(secret.encode(), signed, "sha256"), signature):
        return "is not signed with the API secret"
    if claims.get("iss") != key:
        return "has an iss other than the API key"
    iat, exp = as_int(claims.get("iat")), as_int(claims.get("exp"))
    if iat is None or exp is None:
        return "lacks iat or exp"
    if iat > wall_s + CLOCKS_APART_S:
        return "has an iat in the future"
    if exp <= wall_s:
        return "has expired"
    return "" if exp - iat <= LONGEST_JWT_S else "is valid for more than an hour"


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _failure(error: int) -> Answer:
    status, code, words = _ERRORS.get(error, (error if 400 <= error < 600 else 400, error, "As the scenario requests."))
    headers: Fields = ((b"retry-after", b"%d" % RETRY_AFTER_S),) if status in (429, 503) else ()
    return error_answer(status, code, words, headers)


def _shown(path: str) -> str:
    return path[:100] if path.isprintable() else ascii(path[:100])[1:-1]
