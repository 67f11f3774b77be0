"""Who may see the pages: a middleware around everything that they are made of.

Three doors, one behind the other. The host that the browser believes to talk to must be this server, so that a name of
a stranger that points here (DNS rebinding) leads nowhere. A page of another origin may neither ask nor connect. And
where others than this machine's users can connect, the token counts.
"""

import hmac
import ipaddress
import json
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "rtms_token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; media-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy of each answer that has none of its own."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = ("GET", "HEAD")
MOST_QUERY = 4_096


class Guard:
    """The middleware.

    :param token: what others have to know; `None` lets in whoever reaches the server.
    :param names: host names that the server has, beside those of this machine's loopback.
    """

    def __init__(self, app: ASGIApp, token: str | None, names: Iterable[str] = ()) -> None:
        self._app = app
        self._token = token
        self._names = frozenset(("localhost", *(name.lower().rstrip(".") for name in names)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        if (after := self._first_visit(scope)) is not None:
            await _answer(send, 303, b"", after)
            return
        await self._app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Why a request is refused, if it is: status, what is wrong, what to do."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            return 421, "This server is not reached by that name.", "Use the address that rtms printed."
        if len(scope.get("query_string", b"")) > MOST_QUERY:
            return 414, "The address is too long.", ""
        if not _is_same_origin(scope, hosts[0]):
            return 403, "Another site must not ask for this.", "Open the page itself."
        if self._token is not None and not self._is_known(scope):
            return 401, "This page needs its token.", "Open the address with ?token= that rtms printed when it began."
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        server = scope.get("server") or ("", 0)
        return address.is_loopback or name == str(server[0]).partition("%")[0]

    def _is_known(self, scope: Scope) -> bool:
        given = [
            value.partition(" ")[2].strip()
            for value in _values(scope, b"authorization")
            if value.partition(" ")[0].lower() == "bearer"
        ]
        for cookies in _values(scope, b"cookie"):
            given += _cookies(cookies)
        if _may_be_a_visit(scope):
            given += _tokens(scope)
        return any([self._is_right(one) for one in given])  # noqa: C419  # each takes the same time

    def _is_right(self, token: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())

    def _first_visit(self, scope: Scope) -> dict[str, str] | None:
        """The headers that a first visit is answered with: a cookie, and the same address without the token."""
        if not _may_be_a_visit(scope):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if not any(name == "token" for name, _ in query):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = quote(scope["path"], safe="/:@!$&'()*+,;=-._~")
        headers = {"location": "/" + path.lstrip("/") + (f"?{rest}" if rest else "")}
        if self._token is not None:
            secure = (
                "; Secure" if scope.get("scheme") == "https" or "https" in _values(scope, b"x-forwarded-proto") else ""
            )
            headers["set-cookie"] = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return headers


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _cookies(header: str) -> list[str]:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return []
    return [] if morsel is None else [morsel.value]


def _tokens(scope: Scope) -> list[str]:
    return [value for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name == "token"]


def _may_be_a_visit(scope: Scope) -> bool:
    """Whether it is a person's browser that opens a page."""
    return bool(scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith("/api/"))


def _is_same_origin(scope: Scope, host: str) -> bool:
    origins = _values(scope, b"origin")
    for origin in origins:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if len(origins) > 1 or parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
            return False
    if origins:
        return True
    if scope["type"] == "http" and scope["method"] not in (*_SAFE, "OPTIONS"):
        # A browser names the origin of such a request; a script shows with a token or a header that it is none.
        return not _values(scope, b"cookie") or _values(scope, b"sec-fetch-site") == ["same-origin"]
    sites, modes = _values(scope, b"sec-fetch-site"), _values(scope, b"sec-fetch-mode")
    is_visit = modes == ["navigate"] and _values(scope, b"sec-fetch-dest") in ([], ["document"])
    return not sites or sites in (["same-origin"], ["none"]) or is_visit


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, what: str, remedy: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" in scope.get("extensions", {}):
            body = f"{what} {remedy}\n".encode()
            headers = _encoded({"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))})
            await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": what})
        return
    more = {"www-authenticate": "Bearer"} if status == 401 else {}
    if scope["path"].startswith("/api/"):
        body = json.dumps({"error": what, "remedy": remedy}).encode() + b"\n"
        await _answer(send, status, body, {"content-type": "application/json", **more})
        return
    await _answer(send, status, f"{what} {remedy}\n".encode(), {"content-type": "text/plain; charset=utf-8", **more})


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    headers = {**HEADERS, "content-length": str(len(body)), **headers}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _with_headers(send: Send) -> Send:
    async def start(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[Any] = list(message.get("headers", ()))
            present = {bytes(name).lower() for name, _ in headers}
            headers += [pair for pair in _encoded(HEADERS) if pair[0] not in present]
            message = {**message, "headers": headers}
        await send(message)

    return start
