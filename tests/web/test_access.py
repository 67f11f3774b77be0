"""Access to the pages, tried as an attacker would: nothing is told to anyone who may not read it."""

import asyncio
import os
import re
import socket
from http import HTTPStatus
from pathlib import Path

import pytest
from processes import rtms
from test_architecture import PACKAGE
from web.knocking import MARK, UPGRADE, Door, Header, opened

from rtms_cli.errors import Exit

pytestmark = pytest.mark.timeout(120)
TOKEN = "the-token-of-this-test-1234567890"
PAGES = ("/", "/live", "/live/a-stream", "/recordings", "/search")
ASKED = (*PAGES, "/static/index.html", "/api/about", "/api/recordings", "/recordings/one", "/nothing")
CLOSE = 0x88
"""The first byte of a WebSocket's closing frame."""
SOCKETS = ("/feed", "/feed?run=x&after=1", "/streams/one")
STATIC = PACKAGE / "web/static"
KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
ANYWHERE = ("--host", "0.0.0.0")


def with_token() -> dict[str, str]:
    return {"RTMS_WEB_TOKEN": TOKEN}


def feed_request(door: Door) -> bytes:
    head = "".join(f"{name}: {value!s}\r\n" for name, value in UPGRADE)
    return f"GET /feed HTTP/1.1\r\nHost: {door.host}\r\n{head}\r\n".encode()


async def let_in(door: Door, cases: list[tuple[Header, ...]], path: str = "/api/about") -> list[tuple[Header, ...]]:
    """Which of these headers get an answer that tells something."""
    return [headers for headers in cases if not (await door.knock(path, *headers)).is_refusal]


async def test_on_this_machine_no_token_is_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        assert door.token is None
        reply = await door.knock()
        assert reply.status == HTTPStatus.OK
        assert MARK in reply.body.decode()
        assert [path for path in PAGES if (await door.knock(path)).status != HTTPStatus.OK] == []


async def test_over_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 on this machine")
    async with opened(tmp_path, "--host", "::1", address="::1") as (door, _):
        assert door.host.startswith("[::1]:")
        assert (await door.knock()).status == HTTPStatus.OK
        own = ("Origin", f"http://{door.host}")
        assert (await door.upgrade("/feed", own)).status == HTTPStatus.SWITCHING_PROTOCOLS
        assert (await door.upgrade("/feed", ("Origin", "http://[::2]"))).is_refusal
    async with opened(tmp_path, "--host", "::", address="::1") as (door, _):
        assert (await door.knock()).status == HTTPStatus.UNAUTHORIZED
        assert (await door.knock("/api/about", door.bearer)).status == HTTPStatus.OK


async def test_names_of_this_machine_are_served_and_no_others(tmp_path: Path) -> None:
    """A page whose name leads here (DNS rebinding) has the name of its own site in `Host`."""
    async with opened(tmp_path) as (door, _):
        port = door.port
        good = [f"127.0.0.1:{port}", f"localhost:{port}", f"LocalHost:{port}", f"[::1]:{port}", "localhost:9"]
        refused = [host for host in good if (await door.knock(hosts=[host])).status != HTTPStatus.OK]
        assert refused == []
        foreign: list[str | bytes] = [
            "evil.example", f"evil.example:{port}", f"localhost.evil:{port}", f"127.0.0.1.evil.example:{port}",
            f"evil.localhost.example:{port}", f"localhost@evil.example:{port}", f"evil.example@localhost:{port}",
            f"0.0.0.0:{port}", "169.254.169.254", f"[::]:{port}", f"[fe80::1]:{port}", f"[::1].evil:{port}",
            f"[::1:{port}", f"::1]:{port}", "localhost:evil", f"localhost:{port}/evil",
            f"localhost:{port},evil.example",
            f"localhost:{port} evil.example", f"evil.example#localhost:{port}", f"localhost#.evil:{port}",
            f"localhost\\.evil:{port}", f"lосalhost:{port}", b"\xff\xfe", "", " ", ":", f":{port}", "null", "*",
        ]  # fmt: skip
        answered = [host for host in foreign if not (await door.knock(hosts=[host])).is_refusal]
        assert answered == []
        assert (await door.upgrade(hosts=["evil.example"])).is_refusal
        rebound = ("Origin", f"http://evil.example:{port}")
        assert (await door.upgrade("/feed", rebound, hosts=["evil.example"])).is_refusal


async def test_a_host_is_named_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        for version in ("1.0", "1.1"):
            assert (await door.knock(hosts=[], version=version)).is_refusal
            for twice in ([door.host, "evil.example"], ["evil.example", door.host], [door.host, door.host]):
                assert (await door.knock(hosts=twice, version=version)).is_refusal
        smuggled = (("X-Forwarded-Host", door.host), ("Forwarded", f"host={door.host}"))
        assert (await door.knock("/api/about", *smuggled, hosts=["evil.example"])).is_refusal
        whole = await door.knock(f"http://{door.host}/api/about", hosts=["evil.example"])
        assert whole.is_refusal


async def test_the_name_of_a_proxy_is_served_where_it_is_given(tmp_path: Path) -> None:
    """Behind a proxy, strangers come from a loopback address: so a token is asked for."""
    async with opened(tmp_path, "--web-name", "rtms.example") as (door, _):
        assert door.token
        assert (await door.knock(hosts=["rtms.example"])).status == HTTPStatus.UNAUTHORIZED
        for host in ("rtms.example", "RTMS.example:443", "rtms.example:8443"):
            assert (await door.knock("/api/about", door.bearer, hosts=[host])).status == HTTPStatus.OK, host
        for host in ("evil.rtms.example", "rtms.example.evil", "xrtms.example"):
            assert (await door.knock("/api/about", door.bearer, hosts=[host])).is_refusal, host
        for origin, status in (("https://rtms.example", HTTPStatus.SWITCHING_PROTOCOLS), ("https://evil.example", 403)):
            reply = await door.upgrade("/feed", door.bearer, ("Origin", origin), hosts=["rtms.example"])
            assert reply.status == status


def foreign_origins(door: Door) -> list[str | bytes]:
    return [
        "null", "", "http://evil.example", f"http://evil.example:{door.port}", f"http://{door.address}:{door.port + 1}",
        f"http://{door.address}", f"http://{door.address}:{door.port}.evil.example", f"http://localhost:{door.port}",
        f"http://evil.example@{door.host}", f"file://{door.host}", f"chrome-extension://{door.host}", door.host,
        f"http://{door.host}, http://evil.example", f"http://{door.host} http://evil.example", b"http://\xff",
        "http://[::1", "http://", "*",
    ]  # fmt: skip


async def test_pages_of_other_origins_open_no_socket(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        own = ("Origin", f"http://{door.host}")
        assert (await door.upgrade("/feed", own)).status == HTTPStatus.SWITCHING_PROTOCOLS
        assert (await door.upgrade("/feed")).status == HTTPStatus.SWITCHING_PROTOCOLS, "a program has no origin"
        cases = [(path, ("Origin", origin)) for origin in foreign_origins(door) for path in SOCKETS]
        assert [case for case in cases if not (await door.upgrade(*case)).is_refusal] == []
        assert (await door.upgrade("/feed", own, ("Origin", "http://evil.example"))).is_refusal


async def test_pages_of_other_origins_change_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, "--web-control") as (door, _):
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            path, body = "/api/recordings/one/title", b'{"title": "x"}'
            for origin in foreign_origins(door):
                reply = await door.knock(path, ("Origin", origin), method=method, body=body)
                assert reply.status == HTTPStatus.FORBIDDEN, (method, origin, reply)
            for site in ("cross-site", "same-site", "none", ""):
                reply = await door.knock(path, ("Sec-Fetch-Site", site), method=method, body=body)
                assert reply.status == HTTPStatus.FORBIDDEN, (method, site, reply)
            reply = await door.knock(path, ("Cookie", "a=b"), method=method, body=body)
            assert reply.status == HTTPStatus.FORBIDDEN, "a browser would have named its origin"
            both = (("Origin", f"http://{door.host}"), ("Origin", "http://evil.example"))
            assert (await door.knock(path, *both, method=method, body=body)).status == HTTPStatus.FORBIDDEN
        script = await door.knock("/api/recordings/one/title", method="PUT", body=b'{"title": "x"}')
        assert script.status == HTTPStatus.NOT_FOUND, "a program has neither"


async def test_browsers_say_where_a_request_comes_from(tmp_path: Path) -> None:
    """`same-site` is another port of this machine."""
    async with opened(tmp_path) as (door, _):
        for path in (
            "/api/about",
            "/api/recordings",
            "/api/search?q=x",
            "/static/index.html",
            "/recordings/one/files/x",
        ):
            for site in ("cross-site", "same-site"):
                reply = await door.knock(path, ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors"))
                assert reply.status == HTTPStatus.FORBIDDEN, (path, site, reply)
        for site in ("same-origin", "none"):
            assert (await door.knock("/api/about", ("Sec-Fetch-Site", site))).status == HTTPStatus.OK
        link = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
        assert (await door.knock("/recordings", *link)).status == HTTPStatus.OK, "a link in a mail leads here"
        framed = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe"))
        assert (await door.knock("/recordings", *framed)).is_refusal


async def test_nothing_is_shared_with_other_origins(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        asked: tuple[Header, ...] = (
            ("Origin", "http://evil.example"),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Private-Network", "true"),
        )
        for path in ASKED:
            for method in ("OPTIONS", "GET", "HEAD"):
                reply = await door.knock(path, *asked, method=method)
                allowed = [name for name, _ in reply.headers if name.startswith("access-control")]
                assert not allowed, (path, method, reply)
                if method == "OPTIONS":
                    assert reply.is_refusal, (path, reply)


async def test_every_answer_has_the_headers(tmp_path: Path) -> None:
    """Also those that refuse, and those for what is not there."""
    async with opened(tmp_path) as (door, _):
        asks = [door.knock(path, method=method) for path in ASKED for method in ("GET", "HEAD", "POST", "TRACE")]
        asks += [door.knock(path, hosts=["evil.example"]) for path in ASKED]
        for reply in [await ask for ask in asks]:
            policy = reply.header("content-security-policy")
            assert "default-src 'none'" in policy, reply
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert reply.header("x-content-type-options") == "nosniff"
            assert reply.header("referrer-policy") == "no-referrer"
            assert reply.header("cross-origin-resource-policy") == "same-origin"
            assert reply.header("cross-origin-opener-policy") == "same-origin"
            assert reply.header("server") == ""
            assert reply.header("x-powered-by") == ""


async def test_the_shell_has_nothing_inline(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        shell = (await door.knock("/")).body.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", shell)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", shell)
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", shell)


@pytest.mark.parametrize("settings", [{}, with_token()], ids=["made", "given"])
async def test_on_other_addresses_only_the_token_opens(tmp_path: Path, settings: dict[str, str]) -> None:
    async with opened(tmp_path, *ANYWHERE, settings=settings) as (door, server):
        token = door.token = settings.get("RTMS_WEB_TOKEN", door.token)
        assert token
        assert len(token) >= 32
        shown = sum(token in line for line in server.lines)
        assert shown == (0 if settings else 1), "it is printed once, and not if it is known"
        for path in (*ASKED, "/static/../app.js", "/favicon.ico", "/api/search?q=x"):
            for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
                reply = await door.knock(path, method=method)
                assert reply.status == HTTPStatus.UNAUTHORIZED, (method, path, reply)
                assert not reply.header("set-cookie")
        for path in SOCKETS:
            assert (await door.upgrade(path)).is_refusal
            assert (await door.upgrade(path, ("Origin", f"http://{door.host}"))).is_refusal
            assert (await door.upgrade(path, ("Sec-WebSocket-Protocol", token))).is_refusal
        assert (await door.knock("/api/about", door.bearer)).status == HTTPStatus.OK
        assert (await door.upgrade("/feed", door.bearer)).status == HTTPStatus.SWITCHING_PROTOCOLS


async def test_wrong_tokens(tmp_path: Path) -> None:
    async with opened(tmp_path, *ANYWHERE) as (door, server):
        token = door.token
        assert token
        wrong: list[str | bytes] = [
            "", " ", "x", token[:-1], f"{token}x", token.swapcase(), f"{token} {token}", f'"{token}"', "ü", b"\xff\xfe",
            "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 20, "%s" * 20, "*", "null", "None", "x" * 10_000, f"{token},x",
        ]  # fmt: skip
        cases: list[tuple[Header, ...]] = []
        for one in wrong:
            text = one if isinstance(one, bytes) else one.encode()
            cases.append((("Authorization", b"Bearer " + text),))
            cases += [(("Cookie", name + b"=" + text),) for name in (b"token", f"rtms_token_{door.port}".encode())]
        cases += [(("Authorization", value),) for value in (token, f"Basic {token}", f"Token {token}", "Bearer")]
        cases.append((("Authorization", "Bearer x"), ("Authorization", "Bearer y")))
        assert await let_in(door, cases) == []
        for one in ("", "x", token[:-1], f"{token}x", "%FF", "%C3%BC", "%00"):
            reply = await door.knock(f"/?token={one}")
            assert reply.status == HTTPStatus.UNAUTHORIZED, (one, reply)
            assert not reply.header("set-cookie")
        without, mistaken = await door.knock("/", ("Cookie", "x=1")), await door.knock(f"/?token={token[:-1]}")
        assert (without.status, without.body) == (mistaken.status, mistaken.body)
        assert not [line for line in server.lines if "Traceback" in line]


async def test_the_first_visit_leaves_a_cookie(tmp_path: Path) -> None:
    async with opened(tmp_path, *ANYWHERE) as (door, _):
        assert door.token
        for path in ("/", "/live", "/live/a%2Fb%20%C3%BC", "/recordings", "/recordings/one"):
            reply = await door.knock(f"{path}?token={door.token}")
            assert reply.status == HTTPStatus.SEE_OTHER, (path, reply)
            assert reply.header("location") == path
            assert reply.header("cache-control") == "no-store"
        reply = await door.knock(f"/search?q=a+b%26&token={door.token}&user=x")
        assert reply.header("location") == "/search?q=a+b%26&user=x"
        name_and_value, *rest = reply.header("set-cookie").split("; ")
        parts = {part.partition("=")[0].lower(): part.partition("=")[2].lower() for part in rest}
        assert {"httponly": "", "samesite": "strict", "path": "/"}.items() <= parts.items()
        assert "domain" not in parts
        assert "secure" not in parts, "a browser would not send it over http"
        assert (await door.knock("/api/about", ("Cookie", name_and_value))).status == HTTPStatus.OK
        among = ("Cookie", f"a=b; {name_and_value}; c=d")
        assert (await door.knock("/api/about", among)).status == HTTPStatus.OK
        name = name_and_value.partition("=")[0]
        assert (await door.knock("/api/about", ("Cookie", f"{name}=x"))).is_refusal
        with_origin = (among, ("Origin", f"http://{door.host}"))
        assert (await door.upgrade("/feed", *with_origin)).status == HTTPStatus.SWITCHING_PROTOCOLS
        assert (await door.upgrade("/feed", among, ("Origin", "http://evil.example"))).is_refusal


async def test_a_link_is_followed_again_from_here_and_only_once(tmp_path: Path) -> None:
    """A strict cookie does not come with a link of another site."""
    async with opened(tmp_path, *ANYWHERE) as (door, _):
        link: tuple[Header, ...] = (("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
        for site, is_again in (("cross-site", True), ("same-site", True), ("same-origin", False), ("none", False)):
            reply = await door.knock("/recordings", *link, ("Sec-Fetch-Site", site))
            assert reply.status == HTTPStatus.UNAUTHORIZED
            assert (b'http-equiv="refresh"' in reply.body) is is_again, site


async def test_the_first_visit_leads_nowhere_else(tmp_path: Path) -> None:
    """`//evil.example` would be another host, and a line's end another header."""
    async with opened(tmp_path, *ANYWHERE) as (door, _):
        asked = ("//evil.example/", "///evil.example", "/\\evil.example", "/%0d%0aSet-Cookie:%20x=y",
                 "/%5cevil.example", "http://evil.example/", "//evil.example/%2e%2e", "/.//evil.example")  # fmt: skip
        for path in asked:
            reply = await door.knock(f"{path}?token={door.token}")
            where = reply.header("location")
            assert not re.match(r"[/\\]{2}|/\\|\w+:", where), (path, where)
            assert "\\" not in where
            assert "x=y" not in reply.header("set-cookie")


async def test_with_a_token_the_host_may_be_any_address_of_the_machine(tmp_path: Path) -> None:
    """A name is refused all the same: with a cookie of an earlier visit, a rebound name would be let in."""
    async with opened(tmp_path, *ANYWHERE) as (door, _):
        for host in (f"192.0.2.7:{door.port}", f"[2001:db8::1]:{door.port}", f"localhost:{door.port}"):
            assert (await door.knock("/api/about", door.bearer, hosts=[host])).status == HTTPStatus.OK, host
        for host in ("evil.example", f"192.0.2.7.evil.example:{door.port}", ""):
            assert (await door.knock("/api/about", door.bearer, hosts=[host])).is_refusal, host


@pytest.mark.parametrize(
    "token", ["short", "with spaces in it, and a ; too", "gehört-zu-Zoë-1234567890", 'q"uo\\te%20+=&#']
)
def test_a_token_fits_into_a_header(tmp_path: Path, token: str) -> None:
    ended = rtms("web", tmp_path, "--port", "0", cwd=tmp_path, settings={"RTMS_WEB_TOKEN": token})
    assert (ended.returncode, ended.stdout) == (Exit.USAGE, "")
    assert "RTMS_WEB_TOKEN is not a token" in ended.stderr
    assert token not in ended.stderr


async def test_a_token_that_is_set_counts_on_this_machine_too(tmp_path: Path) -> None:
    """A proxy with the name of the machine leads strangers to it."""
    async with opened(tmp_path, settings=with_token()) as (door, _):
        assert (await door.knock()).status == HTTPStatus.UNAUTHORIZED
        assert (await door.knock("/api/about", ("Authorization", f"bearer {TOKEN}"))).status == HTTPStatus.OK


@pytest.mark.parametrize("profile", [(), ("--profile", "p")], ids=[".env", "a profile"])
async def test_a_token_is_set_where_secrets_are(tmp_path: Path, profile: tuple[str, ...]) -> None:
    """Whoever puts it there believes that it counts."""
    (tmp_path / "rtms.toml").write_text('[profiles.p]\nenv-file = "p.env"\n')
    (tmp_path / ("p.env" if profile else ".env")).write_text(f"RTMS_WEB_TOKEN={TOKEN}\n")
    async with opened(tmp_path, before=profile) as (door, _):
        assert (await door.knock()).status == HTTPStatus.UNAUTHORIZED
        assert (await door.knock("/api/about", ("Authorization", f"Bearer {TOKEN}"))).status == HTTPStatus.OK


async def test_other_servers_of_the_host_set_cookies_too(tmp_path: Path) -> None:
    """Browsers send all of a host to each of its ports."""
    async with opened(tmp_path, *ANYWHERE) as (door, _), opened(tmp_path, *ANYWHERE) as (other, _):
        cookies = [
            (await one.knock(f"/?token={one.token}")).header("set-cookie").split(";")[0] for one in (door, other)
        ]
        assert cookies[0].partition("=")[0] != cookies[1].partition("=")[0]
        for strange in ('a[]="x', "x", "=", "a b=c", 'json={"a": "b;c"}', "é=é"):
            sent = ("Cookie", "; ".join((strange, *cookies, strange)))
            for one in (door, other):
                assert (await one.knock("/api/about", sent)).status == HTTPStatus.OK, strange
            assert (await door.knock("/api/about", ("Cookie", f"{strange}; {cookies[1]}"))).is_refusal


async def test_a_proxy_with_tls_gets_a_secure_cookie(tmp_path: Path) -> None:
    async with opened(tmp_path, *ANYWHERE, "--web-name", "rtms.example") as (door, _):
        reply = await door.knock(f"/?token={door.token}", ("X-Forwarded-Proto", "https"), hosts=["rtms.example"])
        assert "; secure" in reply.header("set-cookie").lower()
        assert reply.header("location") == "/"


async def test_static_files_stay_in_their_folder(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        for name in await asyncio.to_thread(os.listdir, STATIC):
            kind = (await door.knock(f"/static/{name}")).header("content-type")
            assert kind == KINDS[name.rpartition(".")[2]], name
        names = (
            "../app.py", "../__init__.py", "%2e%2e/app.py", "..%2fapp.py", "..%5capp.py", "%252e%252e/app.py",
            "./app.js/..", "//etc/passwd", "%2fetc%2fpasswd", "app.js%00.css", "%00", "", ".", "..", "app.js/",
            "app.js/../../app.py", "%c0%ae%c0%ae/app.py", "%ff", "x" * 5_000, "index.html/../../../errors.py",
            "../../../../../../../etc/passwd",
        )  # fmt: skip
        for name in names:
            reply = await door.knock(f"/static/{name}")
            assert 400 <= reply.status < 500, (name, reply)
            assert b"import" not in reply.body
            assert b"root:" not in reply.body


async def test_head_tells_what_get_tells(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        for path in (*PAGES, "/static/index.html", "/api/about"):
            head, got = await door.knock(path, method="HEAD"), await door.knock(path)
            assert (head.status, head.header("content-length")) == (got.status, str(len(got.body))), path
        for method in ("POST", "PUT", "DELETE", "TRACE", "CONNECT", "NONSENSE"):
            assert (await door.knock("/api/about", method=method)).is_refusal, method
        etag = (await door.knock("/static/index.html")).header("etag")
        assert etag
        again = await door.knock("/static/index.html", ("If-None-Match", etag))
        assert (again.status, again.body) == (HTTPStatus.NOT_MODIFIED, b"")


async def test_pages_for_people_and_errors_for_programs(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, _):
        page, answer = await door.knock("/nothing<b>"), await door.knock("/api/nothing")
        assert (page.status, answer.status) == (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND)
        assert page.header("content-type") == "text/plain; charset=utf-8"
        assert answer.header("content-type").startswith("application/json")
        assert b"nothing<b>" not in page.body
        for path in ("/nothing<b>", "/recordings/nothing<b>", "/static/nothing<b>"):
            seen = await door.knock(path, ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"))
            assert (seen.status, seen.header("content-type")) == (HTTPStatus.NOT_FOUND, "text/html; charset=utf-8")
            assert b'<a href="/recordings">' in seen.body
            assert b"nothing<b>" not in seen.body


async def test_neither_large_nor_endless_requests(tmp_path: Path) -> None:
    async with opened(tmp_path, "--web-control") as (door, _):
        assert (await door.knock("/api/about", ("X-Long", "x" * 200_000))).is_refusal
        assert (await door.knock("/" + "x" * 200_000)).is_refusal
        large = b'{"title": "' + b"x" * 4_000_000 + b'"}'
        own = ("Origin", f"http://{door.host}")
        reply = await door.knock("/api/recordings/one/title", own, method="PUT", body=large)
        assert reply.is_refusal
        assert (await door.knock()).status == HTTPStatus.OK


async def test_the_number_of_sockets_has_a_limit(tmp_path: Path) -> None:
    """And those that are open stay so."""
    async with opened(tmp_path) as (door, _):
        held, codes = [], []
        for _ in range(110):
            reader, writer = await asyncio.open_connection(door.address, door.port)
            writer.write(feed_request(door))
            held.append(writer)
            await reader.readuntil(b"\r\n\r\n")
            head = await reader.readexactly(4)
            codes.append(int.from_bytes(head[2:], "big") if head[0] == CLOSE else 0)
        assert codes == [0] * 100 + [1013] * 10
        assert (await door.knock()).status == HTTPStatus.OK
        for writer in held:
            writer.transport.abort()


async def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    """Whoever has no token may still connect, and say nothing, or half a request."""
    async with opened(tmp_path, *ANYWHERE) as (door, _):
        held = []
        try:
            for number in range(600):
                reader, writer = await asyncio.open_connection(door.address, door.port)
                held.append((reader, writer))
                if number % 2:
                    writer.write(b"GET / HTTP/1.1\r\nHost: ")
            reply = await door.knock("/api/about", door.bearer)
            assert reply.status == HTTPStatus.OK
        finally:
            for _, writer in held:
                writer.transport.abort()


async def test_it_ends_in_time_with_open_sockets(tmp_path: Path) -> None:
    async with opened(tmp_path) as (door, server):
        reader, writer = await asyncio.open_connection(door.address, door.port)
        writer.write(feed_request(door))
        assert b"101" in await reader.readline()
        server.process.terminate()
        assert await server.exit_code() in (0, 130, 143)
        writer.transport.abort()
