"""Who may see the pages: a middleware around everything that they are made of.

Three doors, one behind the other. The host that the browser believes to talk to must be this server, so that a name of
a stranger that points here (DNS rebinding) leads nowhere. A page of another origin may neither ask nor connect. And
where others than this machine's users can connect, the token counts.
"""

import hmac
import ipaddress
import json
import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rtms_cli.web.answers import STRANGERS_POLICY, page_for_stranger, wants_page

COOKIE = "rtms_token_"
"""The name of the cookie, before the port: browsers send cookies to every port of a host."""
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
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d{1,5})?", re.ASCII)
_SAFE = ("GET", "HEAD")
MOST_QUERY = 4_096
_WITHOUT_PLACE = "if (location.hash) location.replace(location.pathname + location.search)"
"""A refresh of an address with a place in the page goes to that place, and asks for nothing."""
_AGAIN = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0">
<title>One moment</title><script>{_WITHOUT_PLACE}</script></head><body><p>One moment…</p></body></html>
""".encode()
_AGAIN_POLICY = (
    f"default-src 'none'; script-src 'sha256-{b64encode(sha256(_WITHOUT_PLACE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Asks for the same address again, now from a page of ours, so that the cookie comes along if there is one."""


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
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower().rstrip(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # No stranger's name is an address, and a token is asked for besides: behind a router, any address may be right.
        return address.is_loopback or self._token is not None or name == _server(scope)[0].partition("%")[0]

    def _is_known(self, scope: Scope) -> bool:
        given = [
            value.partition(" ")[2].strip()
            for value in _values(scope, b"authorization")
            if value.partition(" ")[0].lower() == "bearer"
        ]
        given += _cookies(scope)
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
        query = scope["query_string"].decode("latin-1").split("&")
        rest = "&".join(one for one in query if not _is_token(one))
        if rest == "&".join(query):
            return None
        path = quote(scope["raw_path"], safe="%/:@!$&'()*+,;=-._~")
        headers = {"location": "/" + path.lstrip("/") + (f"?{rest}" if rest else "")}
        if self._token is not None:
            secure = (
                "; Secure" if scope.get("scheme") == "https" or "https" in _values(scope, b"x-forwarded-proto") else ""
            )
            headers["set-cookie"] = f"{_cookie(scope)}={self._token}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return headers


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _server(scope: Scope) -> tuple[str, int]:
    server = scope.get("server") or ("", 0)
    return str(server[0]), int(server[1] or 0)


def _cookie(scope: Scope) -> str:
    return f"{COOKIE}{_server(scope)[1]}"


def _cookies(scope: Scope) -> list[str]:
    """The values of our cookie. Other servers of the host set cookies, too, of any form."""
    name = _cookie(scope)
    pairs = [one.strip().partition("=") for header in _values(scope, b"cookie") for one in header.split(";")]
    return [value for key, _, value in pairs if key == name]


def _is_token(pair: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == "token"


def _tokens(scope: Scope) -> list[str]:
    query = scope["query_string"].decode("latin-1").split("&")
    return [unquote_plus(pair.partition("=")[2]) for pair in query if _is_token(pair)]


def _may_be_a_visit(scope: Scope) -> bool:
    """Whether it is a person's browser that opens a page."""
    return bool(scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith("/api/"))


def _is_same_origin(scope: Scope, host: str) -> bool:
    origins = _values(scope, b"origin")
    if origins and (
        len(origins) > 1 or origins[0].lower() not in (f"http://{host}".lower(), f"https://{host}".lower())
    ):
        return False
    sites, modes = _values(scope, b"sec-fetch-site"), _values(scope, b"sec-fetch-mode")
    if scope["type"] == "http" and scope["method"] not in (*_SAFE, "OPTIONS"):
        # A browser names the origin of such a request, or at least its site; a script has no cookie.
        return bool(origins) or sites == ["same-origin"] or not (sites or _values(scope, b"cookie"))
    is_visit = modes == ["navigate"] and _values(scope, b"sec-fetch-dest") in ([], ["document"])
    return bool(origins) or not sites or sites in (["same-origin"], ["none"]) or is_visit


def _is_link(scope: Scope) -> bool:
    """Whether a person has followed a link of another site, with which no strict cookie comes."""
    is_visit = _values(scope, b"sec-fetch-mode") == ["navigate"] and _may_be_a_visit(scope)
    return is_visit and _values(scope, b"sec-fetch-site") in (["cross-site"], ["same-site"])


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
    more = {"connection": "close"}  # a stranger holds none
    if status == 401:
        more["www-authenticate"] = "Bearer"
    if status == 401 and _is_link(scope):
        page = {"content-type": "text/html; charset=utf-8", "content-security-policy": _AGAIN_POLICY}
        await _answer(send, status, _AGAIN, {**page, **more})
        return
    if scope["path"].startswith("/api/"):
        body = json.dumps({"error": what, "remedy": remedy}).encode() + b"\n"
        await _answer(send, status, body, {"content-type": "application/json", **more})
        return
    if wants_page(_values(scope, b"accept")):
        query = scope["query_string"].decode("latin-1")
        body = page_for_stranger(what, remedy, asks_for_token=status == 401, query=query)
        kind = {"content-type": "text/html; charset=utf-8", "content-security-policy": STRANGERS_POLICY}
        await _answer(send, status, body, {**kind, **more})
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
