"""Why a signature is wrong: the mistakes that people make (PROTOCOL §3), tried one by one and two by two.

A signature is a key, a text and a way to write the result down. Each of the three has one right form and a list of
wrong ones; the combination that produces the signature in question identifies the mistake.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from urllib.parse import quote, unquote

from rtms_cli.protocol.saved import decode_text
from rtms_cli.protocol.signatures import MAX_REWRITTEN
from rtms_cli.protocol.strict_json import loads
from rtms_cli.protocol.texts import utf8
from rtms_cli.protocol.webhooks import Ids

Variant = tuple[str, bytes]
"""What was done wrong, empty for the right way; and the bytes that it makes."""

_NAMES = {
    "\n": "a line break",
    "\r\n": "a line break (CR LF)",
    " ": "a blank",
    "\t": "a tab",
    "\r": "a carriage return",
    "\u00a0": "a no-break space",
    "\ufeff": "a byte order mark",
    "\u200b": "an invisible character",
    ";": "a ;",
    ",": "a ,",
}


def handshake_mistakes(
    given: str, client_id: str, client_secret: str, ids: Ids, other_secrets: Mapping[str, str]
) -> list[str] | None:
    """What was done to get this handshake signature.

    :param other_secrets: what else may have been used as the key, by its name for people.
    :returns: the mistakes, none where the signature is right; `None` if nothing explains it.
    """
    texts = [
        *_handshake_texts(client_id, ids),
        ("the client secret stands in the text, not the client id", utf8(f"{client_secret},{ids.id},{ids.stream_id}")),
    ]
    return _explain(given, _keys("client secret", client_secret, other_secrets), texts, "")


def webhook_mistakes(
    given: str, secret_token: str, timestamp: str, body: bytes, other_secrets: Mapping[str, str]
) -> list[str] | None:
    """What was done to get this webhook signature; see `handshake_mistakes`."""
    return _explain(given, _keys("secret token", secret_token, other_secrets), _webhook_texts(timestamp, body), "v0=")


def challenge_mistakes(given: str, secret_token: str, plain_token: str) -> list[str] | None:
    """What was done to get this encryptedToken; see `handshake_mistakes`."""
    texts = [
        ("", utf8(plain_token)),
        ("a line break follows the plainToken", utf8(plain_token + "\n")),
        ("the plainToken was signed with quotation marks", utf8(f'"{plain_token}"')),
        ("'v0:' stands before the plainToken", utf8(f"v0:{plain_token}")),
        *((f"the plainToken was {nothing or 'empty'} in the app", nothing.encode()) for nothing in _NOTHING),
    ]
    return _explain(given, _keys("secret token", secret_token, {}), texts, "")


_NOTHING = ("undefined", "null", "None", "nil", "false", "False", "{}", "", "[object Object]")
"""What is there in place of a value that an app has not."""
_QUOTES = "\"'“”‘’«»`"
_LABEL = re.compile(
    rf"^[\s{_QUOTES}]*(?:-H\s*)?[\s{_QUOTES}]*(?:(?:http_)?x[-_]zm[-_]\w+(?:-\w+)?|[\w-]*signature|timestamp)?"
    rf"[{_QUOTES}]?\s*(?:=>|[:=,])?[\s{_QUOTES}]*",
    re.IGNORECASE,
)


def bare_signature(given: str) -> str:
    """A signature or a timestamp as it was pasted, without quotation marks, its header's name and white space."""
    return "".join(_LABEL.sub("", unquote(given)).rstrip(f" \t\r\n{_QUOTES},;)]}}").split())


def _explain(given: str, keys: Iterable[Variant], texts: Iterable[Variant], prefix: str) -> list[str] | None:
    found: list[list[str]] = []
    given = bare_signature(given)
    start = next((one for one in _PREFIXES if given.startswith(one)), "")
    prefix_mistake = "" if start == prefix else _PREFIXES.get(start, f"'{prefix}' is missing in front")
    bare = utf8(given.removeprefix(start).rstrip(".…"))
    if bare.decode(errors="replace") in _NOTHING:
        return [f"it is {bare.decode() or 'empty'}: the app did not make a signature"]
    all_keys = list(keys)
    if bare in [key for _, key in all_keys]:
        return ["it is a secret itself, not a signature: nobody may see it"]
    for (key_mistake, key), (text_mistake, text) in product(all_keys, list(texts)):
        for digest_mistake, digest in islice(_digests(key, text), 1 if key_mistake and text_mistake else None):
            for writing_mistake, written in _writings(digest):
                if hmac.compare_digest(written, bare):
                    cut = ""
                elif len(bare) >= _SHORTEST and (written.startswith(bare) or written.endswith(bare)):
                    cut = f"only {len(bare)} of its {len(written)} characters are there"
                else:
                    continue
                mistakes = (key_mistake, text_mistake, digest_mistake, writing_mistake, prefix_mistake, cut)
                found.append([mistake for mistake in mistakes if mistake])
    return min(found, key=len, default=None)


_PREFIXES = {
    "v0=v0=": "'v0=' stands in front twice",
    "v0=": "it begins with v0=",
    "V0=": "'v0=' is in upper case",
    "v0:": "'v0:' stands in front, not 'v0='",
    "sha256=": "'sha256=' stands in front, which is not Zoom's way",
    "0x": "'0x' stands in front",
    "b'": "it is Python's bytes as print() shows them",
}
_SHORTEST = 12
"""From this many characters on, a cut signature is not a coincidence."""


def _digests(key: bytes, text: bytes) -> Iterator[Variant]:
    """The right digest, and what other calls of a cryptographic library make."""
    yield "", hmac.new(key, text, hashlib.sha256).digest()
    yield "it was made with SHA-1, not SHA-256", hmac.new(key, text, hashlib.sha1).digest()
    yield "it was made with SHA-512, not SHA-256", hmac.new(key, text, hashlib.sha512).digest()
    yield "it was made with SHA-384, not SHA-256", hmac.new(key, text, hashlib.sha384).digest()
    yield "it was made with MD5, not SHA-256", hmac.new(key, text, hashlib.md5).digest()
    yield "the key and the text are swapped", hmac.new(text, key, hashlib.sha256).digest()
    for joined in (key + text, text + key, text):
        yield "it is a plain SHA-256, not an HMAC", hashlib.sha256(joined).digest()


def _keys(name: str, secret: str, others: Mapping[str, str]) -> Iterator[Variant]:
    yield "", utf8(secret)
    if secret.strip() != secret:
        yield f"the {name} that is configured here has white space around it", utf8(secret.strip())
    for space, what in _NAMES.items():
        yield f"{what} was pasted after the {name}", utf8(secret + space)
        yield f"{what} was pasted before the {name}", utf8(space + secret)
    for nothing in _NOTHING:
        yield f"the {name} was {nothing or 'empty'} in the app", nothing.encode()
    yield f"the last character of the {name} is missing", utf8(secret[:-1])
    yield f"the first character of the {name} is missing", utf8(secret[1:])
    yield f"the {name} was changed to lower case", utf8(secret.lower())
    yield f"the {name} was changed to upper case", utf8(secret.upper())
    yield f"the {name} was encoded as base64 before it was used", base64.b64encode(utf8(secret))
    yield f"the {name} was encoded as UTF-16", secret.encode("utf-16-le", "surrogatepass")
    for quotes in ('"', "'"):
        yield f"the {name} was used with its quotation marks", utf8(f"{quotes}{secret}{quotes}")
    for decode, how in ((base64.b64decode, "base64"), (bytes.fromhex, "hex")):
        try:
            decoded = decode(secret)
        except ValueError:
            continue  # it is not in that form
        yield f"the {name} was decoded as {how} before it was used", decoded
    for other, value in others.items():
        yield f"{other} was used instead of the {name}", utf8(value)


def _handshake_texts(client_id: str, ids: Ids) -> Iterator[Variant]:
    def text(*parts: str, separator: str = ",") -> bytes:
        return utf8(separator.join(parts))

    yield "", text(client_id, ids.id, ids.stream_id)
    yield "id and stream id are swapped", text(client_id, ids.stream_id, ids.id)
    bare = (client_id.strip(), ids.id.strip(), ids.stream_id.strip())
    if bare != (client_id, ids.id, ids.stream_id):
        yield "white space around the client id or the ids was left out", text(*bare)
    for name, value in ids.others.items():
        what = f"the meeting number {value}" if name == "meeting_id" else f"{name} {value}"
        yield f"{what} was used instead of the id {ids.id}", text(client_id, value, ids.stream_id)
        yield f"{what} was used instead of the client id", text(value, ids.id, ids.stream_id)
        for mark in " -":
            spelt = re.sub(r"^(\d{3})(\d{3,4}?)(\d{3,4})$", rf"\1{mark}\2{mark}\3", value)
            yield f"{what}, written as {spelt}, was used instead of the id", text(client_id, spelt, ids.stream_id)
    for nothing in _NOTHING:
        yield f"the client id was {nothing or 'empty'} in the app", text(nothing, ids.id, ids.stream_id)
        yield f"the id was {nothing or 'empty'} in the app", text(client_id, nothing, ids.stream_id)
        yield f"the stream id was {nothing or 'empty'} in the app", text(client_id, ids.id, nothing)
    once = quote(utf8(ids.id), safe="")
    yield "the id was URL-encoded", text(client_id, once, ids.stream_id)
    yield "the id was URL-encoded twice", text(client_id, quote(once, safe=""), ids.stream_id)
    for how, changed in (
        ("without its =", ids.id.rstrip("=")),
        ("with a blank for +", ids.id.replace("+", " ")),
        ("in URL-safe base64", ids.id.replace("+", "-").replace("/", "_")),
        ("URL-encoded but for /", quote(utf8(ids.id))),
        ("in lower case", ids.id.lower()),
        ("in upper case", ids.id.upper()),
    ):
        yield f"the id was used {how}", text(client_id, changed, ids.stream_id)
    yield "the stream id was used in upper case", text(client_id, ids.id, ids.stream_id.upper())
    yield "the stream id was used in lower case", text(client_id, ids.id, ids.stream_id.lower())
    yield "the client id was used in lower case", text(client_id.lower(), ids.id, ids.stream_id)
    yield "the client id was used in upper case", text(client_id.upper(), ids.id, ids.stream_id)
    parts = (client_id, ids.id, ids.stream_id)
    for listed in (json.dumps(parts), _compact(parts), str(parts), str(list(parts))):
        yield "the three parts were written as a list", utf8(listed)
    named = {"client_id": client_id, "meeting_uuid": ids.id, "rtms_stream_id": ids.stream_id}
    for written in (json.dumps(named), _compact(named)):
        yield "the three parts were written as JSON", utf8(written)
    yield "there are quotation marks around the ids", text(client_id, f'"{ids.id}"', f'"{ids.stream_id}"')
    yield "there is a comma at the end of the text", text(*parts, "")
    yield "the stream id is missing in the text", text(client_id, ids.id)
    yield "the id is missing in the text", text(client_id, ids.stream_id)
    yield "a line break stands before the text", b"\n" + text(*parts)
    yield "the text was encoded as UTF-16", ",".join(parts).encode("utf-16-le", "surrogatepass")
    yield "the id was URL-decoded", text(client_id, unquote(ids.id), ids.stream_id)
    yield "the stream id was URL-encoded", text(client_id, ids.id, quote(utf8(ids.stream_id), safe=""))
    yield "id and stream id were URL-encoded", text(client_id, once, quote(utf8(ids.stream_id), safe=""))
    yield "there are blanks after the commas", text(client_id, ids.id, ids.stream_id, separator=", ")
    yield "the three parts were joined with nothing between them", text(client_id, ids.id, ids.stream_id, separator="")
    for separator in (":", ";", ".", "|", "\n", " "):
        what = f"the three parts were joined with {separator!r}"
        yield what, text(client_id, ids.id, ids.stream_id, separator=separator)
    yield "the parts are in another order: the client id is the first", text(ids.id, ids.stream_id, client_id)
    yield "the parts are in another order: the client id is the first", text(ids.stream_id, ids.id, client_id)
    yield "the parts are in another order: the client id is the first", text(ids.id, client_id, ids.stream_id)
    yield "the client id is missing in the text", text(ids.id, ids.stream_id)
    yield "a line break follows the text", text(client_id, ids.id, ids.stream_id) + b"\n"
    yield "white space follows the client id", text(client_id + " ", ids.id, ids.stream_id)
    yield "a line break follows the client id", text(client_id + "\n", ids.id, ids.stream_id)


def _webhook_texts(timestamp: str, body: bytes) -> Iterator[Variant]:
    bare = timestamp.strip()
    head = utf8(f"v0:{timestamp}:")
    yield "", head + body
    if bare != timestamp:
        yield "white space around the timestamp was left out", utf8(f"v0:{bare}:") + body
    if bare.isascii() and bare.isdigit() and len(bare) < 20:
        yield (
            "the timestamp was signed in milliseconds: sign the header as it came",
            b"v0:%d:" % (int(bare) * 1000) + body,
        )
        yield "the timestamp was signed in seconds: sign the header as it came", b"v0:%d:" % (int(bare) // 1000) + body
        yield "the timestamp was signed with a fraction: sign the header as it came", b"v0:%d.0:" % int(bare) + body
    yield "the text does not begin with 'v0:'", head[3:] + body
    yield "the text begins with 'v1:'", b"v1" + head[2:] + body
    yield "the text begins with 'v0='", b"v0=" + head[3:] + body
    yield "there are blanks after the colons", utf8(f"v0: {timestamp}: ") + body
    yield "a line break follows the timestamp", utf8(f"v0:{timestamp}\n:") + body
    if len(body) > MAX_REWRITTEN:
        return  # a webhook has some 2,000 bytes
    for nothing in _NOTHING:
        yield f"the body was {nothing or 'empty'} in the app: keep the raw bytes", head + nothing.encode()
        yield f"the timestamp was {nothing or 'empty'} in the app", b"v0:" + nothing.encode() + b":" + body
    yield "the bytes of the body were printed (b'…'), not decoded, in Python", head + utf8(repr(body))
    buffer = {"type": "Buffer", "data": list(body)}
    yield "a Buffer was written as JSON: use body.toString()", head + utf8(_compact(buffer))
    yield "the body is base64 in the text", head + base64.b64encode(body)
    yield "the parts were joined with '.', not ':'", utf8(f"v0.{timestamp}.") + body
    yield "the parts were joined with nothing between them", utf8(f"v0{timestamp}") + body
    yield "only the body was signed", body
    yield "the timestamp is missing in the text", b"v0:" + body
    yield "the timestamp and the body are swapped", b"v0:" + body + b":" + utf8(bare)
    text = _decoded(body)
    if text is not None:
        plain, form = text
        if form:
            yield f"this file is in {form}, which Zoom's body was not", head + utf8(plain)
            body = utf8(plain)
        if body.endswith(b"\n"):
            what = "this file has a line break at its end that the body did not have"
            yield f"{what}{f', and is in {form}' if form else ''}", head + body.rstrip(b"\r\n")
        elif not form:
            yield "a line break follows the body", head + body + b"\n"
        if b"\r\n" in body:
            unix = body.replace(b"\r\n", b"\n")
            yield "this file has CR LF where the body had LF", head + unix
            yield "this file has CR LF where the body had LF, and a line break at its end", head + unix.rstrip(b"\n")
        for encoding in ("latin-1", "ascii"):
            for errors in ("replace", "ignore"):
                yield f"the body was written in {encoding.upper()}, not UTF-8", head + plain.encode(encoding, errors)
        yield "the bytes of the body were read as LATIN-1, not UTF-8", head + body.decode("latin-1").encode()
        yield "a byte order mark stands before the body", head + b"\xef\xbb\xbf" + body
        yield "the white space around the body was left out", head + body.strip()
        yield "the body was URL-encoded", head + quote(body, safe="").encode()
        yield "line ends of the body were changed", head + body.replace(b"\n", b"\r\n")
        yield "the body was written as a JSON string", head + utf8(_compact(plain))
    try:
        value = loads(body)
    except ValueError:
        return
    for how, rewritten in rewritings(value):
        yield f"the body was parsed and written again ({how}): sign the raw bytes", head + rewritten
    yield "all white space in the body was left out", head + b"".join(body.split())
    if not isinstance(value, dict):
        return
    if isinstance(event_ts := value.get("event_ts"), int):
        for number in (event_ts, event_ts // 1000):
            yield "the body's event_ts was signed, not the header's timestamp", b"v0:%d:" % number + body
    inner = value.get("payload")
    for name in ("payload", "payload.object"):
        if isinstance(inner, dict):
            for _, rewritten in rewritings(inner):
                yield f"only {name} was signed, not the whole body", head + rewritten
            inner = inner.get("object")


def _compact(value: object, *, ensure_ascii: bool = False, sort_keys: bool = False) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=ensure_ascii, sort_keys=sort_keys)


def rewritings(value: object) -> Iterator[Variant]:
    """JSON as the languages that apps are written in put it: how, and the bytes."""
    forms: list[tuple[str, str]] = [
        ("as json.dumps does", json.dumps(value)),
        ("without blanks, as JSON.stringify does", _compact(value)),
        ("without blanks and with \\u escapes", _compact(value, ensure_ascii=True)),
        ("with blanks and without \\u escapes", json.dumps(value, ensure_ascii=False)),
        ("indented by 2, with \\u escapes", json.dumps(value, indent=2)),
        ("indented by 4, with \\u escapes", json.dumps(value, indent=4)),
        ("indented by a tab", json.dumps(value, indent="\t", ensure_ascii=False)),
        ("indented by 2", json.dumps(value, indent=2, ensure_ascii=False)),
        ("indented by 4", json.dumps(value, indent=4, ensure_ascii=False)),
        ("with sorted keys", json.dumps(value, sort_keys=True)),
        ("with sorted keys and without blanks", _compact(value, sort_keys=True)),
        ("with sorted keys, without blanks and with \\u escapes", _compact(value, ensure_ascii=True, sort_keys=True)),
        ("indented by 4, with sorted keys", json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)),
        ("indented by 2, with CR LF", json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\r\n")),
        ("with str(dict) in Python", str(value)),
    ]
    for order, sort_keys in (("", False), (" of a map", True)):
        raw, escaped = _compact(value, sort_keys=sort_keys), _compact(value, ensure_ascii=True, sort_keys=sort_keys)
        sorted_too = " and sorted keys" if sort_keys else ""
        forms += [
            (f"as Go's json.Marshal does{order}", _escape(raw, "<>&\u2028\u2029", "\\u{:04x}")),
            (f"with Java's Gson{sorted_too}", _escape(raw, "<>&='\u2028\u2029", "\\u{:04x}")),
            (f"with PHP's json_encode: \\/ and \\u escapes{sorted_too}", escaped.replace("/", "\\/")),
            (f"with PHP's json_encode: \\/ for /{sorted_too}", raw.replace("/", "\\/")),
            (f"with C#'s System.Text.Json{sorted_too}", _c_sharp(escaped)),
        ]
    for how, text in forms:
        yield how, utf8(text)


def _escape(text: str, characters: str, form: str) -> str:
    for character in characters:
        text = text.replace(character, form.format(ord(character)))
    return text


def _c_sharp(escaped: str) -> str:
    """What System.Text.Json makes of compact JSON whose other characters are escaped: capitals, and more escapes."""

    def one(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 5:
            return "\\u" + code[1:].upper()
        return "\\u0022" if code == '"' else match[0]

    return _escape(re.sub(r"\\(u[0-9a-f]{4}|.)", one, escaped), "<>&'+`", "\\u{:04X}")


def _decoded(body: bytes) -> tuple[str, str] | None:
    try:
        return decode_text(body)
    except ValueError:
        return None


def _writings(digest: bytes) -> Iterator[Variant]:
    coded = base64.b64encode(digest)
    yield "", digest.hex().encode()
    yield "it is in upper case", digest.hex().upper().encode()
    yield "it is base64, not hex", coded
    yield "it is URL-safe base64, not hex", base64.urlsafe_b64encode(digest)
    yield "it is base64 without padding, not hex", coded.rstrip(b"=")
    yield "it is base64 of the hex", base64.b64encode(digest.hex().encode())
    yield "there are - in it, as BitConverter writes them in C#", digest.hex("-").upper().encode()
    yield "there are : in it", digest.hex(":").encode()
    yield "its bytes were printed as numbers", f"[{','.join(map(str, digest))}".encode()
    yield (
        "zeros are missing in it, as Integer.toHexString leaves them out",
        "".join(f"{one:x}" for one in digest).encode(),
    )
