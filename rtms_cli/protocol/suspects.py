"""Why a signature is wrong: the mistakes that people make (PROTOCOL §3), tried one by one and two by two.

A signature is a key, a text and a way to write the result down. Each of the three has one right form and a list of
wrong ones; the combination that gives the signature in question names the mistake.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from urllib.parse import quote, unquote

from rtms_cli.protocol.webhooks import Ids

Variant = tuple[str, bytes]
"""What was done wrong, empty for the right way; and the bytes that it makes."""

_NAMES = {
    "\n": "a line break",
    "\r\n": "a line break (CR LF)",
    " ": "a blank",
    "\t": "a tab",
}


def handshake_mistakes(
    given: str, client_id: str, client_secret: str, ids: Ids, other_secrets: Mapping[str, str]
) -> list[str] | None:
    """What was done to get this handshake signature.

    :param other_secrets: what else may have been used as the key, by its name for people.
    :returns: the mistakes, none where the signature is right; `None` where nothing explains it.
    """
    texts = _handshake_texts(client_id, ids)
    return _explain(given, _keys("client secret", client_secret, other_secrets), texts, "")


def webhook_mistakes(
    given: str, secret_token: str, timestamp: str, body: bytes, other_secrets: Mapping[str, str]
) -> list[str] | None:
    """What was done to get this webhook signature; see `handshake_mistakes`."""
    return _explain(given, _keys("secret token", secret_token, other_secrets), _webhook_texts(timestamp, body), "v0=")


def _explain(given: str, keys: Iterable[Variant], texts: Iterable[Variant], prefix: str) -> list[str] | None:
    found: list[list[str]] = []
    given = given.strip()
    for (key_mistake, key), (text_mistake, text) in product(list(keys), list(texts)):
        digest = hmac.new(key, text, hashlib.sha256).digest()
        for writing_mistake, written in _writings(digest, prefix):
            if hmac.compare_digest(written, given.encode()):
                found.append([mistake for mistake in (key_mistake, text_mistake, writing_mistake) if mistake])
    return min(found, key=len, default=None)


def _keys(name: str, secret: str, others: Mapping[str, str]) -> Iterator[Variant]:
    yield "", secret.encode()
    if secret.strip() != secret:
        yield f"the {name} that is configured here has white space around it", secret.strip().encode()
    for space, what in _NAMES.items():
        yield f"{what} was pasted after the {name}", (secret + space).encode()
        yield f"{what} was pasted before the {name}", (space + secret).encode()
    for quotes in ('"', "'"):
        yield f"the {name} was used with its quotation marks", f"{quotes}{secret}{quotes}".encode()
    for other, value in others.items():
        yield f"{other} was used instead of the {name}", value.encode()


def _handshake_texts(client_id: str, ids: Ids) -> Iterator[Variant]:
    def text(*parts: str, separator: str = ",") -> bytes:
        return separator.join(parts).encode()

    yield "", text(client_id, ids.id, ids.stream_id)
    yield "id and stream id are swapped", text(client_id, ids.stream_id, ids.id)
    bare = (client_id.strip(), ids.id.strip(), ids.stream_id.strip())
    if bare != (client_id, ids.id, ids.stream_id):
        yield "white space around the client id or the ids was left out", text(*bare)
    if ids.number is not None:
        what = f"the meeting number {ids.number} was used instead of the uuid"
        yield what, text(client_id, ids.number, ids.stream_id)
    once = quote(ids.id, safe="")
    yield "the id was URL-encoded", text(client_id, once, ids.stream_id)
    yield "the id was URL-encoded twice", text(client_id, quote(once, safe=""), ids.stream_id)
    yield "the id was URL-decoded", text(client_id, unquote(ids.id), ids.stream_id)
    yield "the stream id was URL-encoded", text(client_id, ids.id, quote(ids.stream_id, safe=""))
    yield "id and stream id were URL-encoded", text(client_id, once, quote(ids.stream_id, safe=""))
    yield "there are blanks after the commas", text(client_id, ids.id, ids.stream_id, separator=", ")
    yield "the three parts were joined with nothing between them", text(client_id, ids.id, ids.stream_id, separator="")
    yield "the three parts were joined with ':'", text(client_id, ids.id, ids.stream_id, separator=":")
    yield "the client id is missing in the text", text(ids.id, ids.stream_id)
    yield "a line break follows the text", text(client_id, ids.id, ids.stream_id) + b"\n"
    yield "white space follows the client id", text(client_id + " ", ids.id, ids.stream_id)
    yield "a line break follows the client id", text(client_id + "\n", ids.id, ids.stream_id)


def _webhook_texts(timestamp: str, body: bytes) -> Iterator[Variant]:
    head = f"v0:{timestamp}:".encode()
    yield "", head + body
    yield "the text does not begin with 'v0:'", head[3:] + body
    yield "only the body was signed", body
    if body.endswith(b"\n"):
        yield "this file has a line break at its end that the body had not", head + body.rstrip(b"\r\n")
    else:
        yield "a line break follows the body", head + body + b"\n"
    yield "line ends of the body were changed", head + body.replace(b"\n", b"\r\n")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    for what, options in (
        ("as json.dumps does", {}),
        ("without blanks, as JSON.stringify does", {"separators": (",", ":"), "ensure_ascii": False}),
        ("without blanks and with \\u escapes", {"separators": (",", ":")}),
        ("with blanks and without \\u escapes", {"ensure_ascii": False}),
        ("indented by 2", {"indent": 2, "ensure_ascii": False}),
        ("indented by 4", {"indent": 4, "ensure_ascii": False}),
        ("with sorted keys", {"sort_keys": True}),
    ):
        text = json.dumps(value, **options).encode(errors="replace")
        yield f"the body was parsed and written again ({what}): sign the raw bytes", head + text


def _writings(digest: bytes, prefix: str) -> Iterator[Variant]:
    forms = (
        ("", digest.hex()),
        ("it is in upper case", digest.hex().upper()),
        ("it is base64, not hex", base64.b64encode(digest).decode()),
        ("it is URL-safe base64, not hex", base64.urlsafe_b64encode(digest).decode()),
        ("it is base64 without padding, not hex", base64.b64encode(digest).decode().rstrip("=")),
    )
    for what, text in forms:
        yield what, (prefix + text).encode()
        if prefix:
            yield " and ".join(part for part in (what, f"'{prefix}' is missing in front") if part), text.encode()
