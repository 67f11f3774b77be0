"""What is answered in place of a page or a file: JSON for programs, a small page for browsers, text for all others."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
"""
_BACK = '<p><a href="/recordings">← Recordings</a></p>'
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:36em;margin:80px auto;padding:0 16px;overflow-wrap:anywhere}"
    "h1{font-size:22px}input,button{font:inherit;padding:6px 10px;max-width:100%;box-sizing:border-box}"
)
"""For strangers, who do not get the style sheet."""
STRANGERS_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content security policy of `page_for_stranger`."""


def refused(
    request: Request, what: str, remedy: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that says what is wrong and what to do about it."""
    what, remedy = text(what), text(remedy)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": what, "remedy": remedy}, status, headers)
    if wants_page(request.headers.getlist("accept")):
        return HTMLResponse(_page(what, remedy), status, headers)
    return PlainTextResponse(f"{what} {remedy}".rstrip() + "\n", status, headers)


def being_made(name: str) -> Response:
    """A page that asks again: what was asked for is being made."""
    return HTMLResponse(
        _page(
            "Reading the recording…",
            text(name),
            "The page of a long meeting takes some seconds. It appears by itself.",
            head='<script src="/static/waiting.js" defer></script>',
        )
    )


def page_for_stranger(what: str, remedy: str, *, asks_for_token: bool, query: str) -> bytes:
    """What a browser shows that was not let in.

    :param asks_for_token: whether to have a field for the token.
    :param query: of the address, which is kept.
    """
    form, more = "", ""
    if asks_for_token:
        kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "token"]
        hidden = [f'<input type="hidden" name="{escape(key)}" value="{escape(value)}">' for key, value in kept]
        more = " Or type the token:"
        form = (
            f'<form>{"".join(hidden)}<label>Token <input type="password" name="token" autocomplete="current-password" '
            "required autofocus></label> <button>Open</button></form>"
        )
    page = f"{_HEAD}<title>{escape(what)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(what)}</h1>"
    return f"{page}<p>{escape(remedy)}{more}</p>{form}</main></body></html>\n".encode("utf-8", "replace")


def wants_page(accepts: Iterable[str]) -> bool:
    """Whether these `Accept` headers are a browser's that opens a page."""
    return any("text/html" in one.lower() for one in accepts)


def text(value: object) -> str:
    """A text that JSON and HTML may carry: a name in another encoding has marks in place of its bytes."""
    return str(value).encode("utf-8", "replace").decode()


def _page(title: str, *paragraphs: str, head: str = "") -> str:
    told = "".join(f"<p>{escape(one)}</p>" for one in paragraphs if one)
    return (
        f'{_HEAD}<title>{escape(title)} · rtms</title><link rel="stylesheet" href="/static/app.css">{head}</head>\n'
        f'<body class="waiting"><main><h1>{escape(title)}</h1>{told}{_BACK}</main></body></html>\n'
    )
