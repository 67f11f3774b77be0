"""Webhooks as people have them: saved with another encoding, or copied from a log, a curl line, a chat, a web page.

Zoom posts JSON in UTF-8. What is at hand at midnight is often something else. It is read where the meaning is sure;
where it is not, the reason names what the text is.
"""

import ast
import codecs
import json
import re
import shlex
from collections.abc import Iterator

from msgspec import Struct

from rtms_cli.protocol.messages import dumps, loads

MAX_LENIENT = 64 * 1024
"""Characters of a text that is not JSON which are looked at more closely. A webhook has some 2,000."""

_MARKS = {
    codecs.BOM_UTF8: ("utf-8", "UTF-8 with a byte order mark"),
    codecs.BOM_UTF32_LE: ("utf-32-le", "UTF-32"),
    codecs.BOM_UTF32_BE: ("utf-32-be", "UTF-32"),
    codecs.BOM_UTF16_LE: ("utf-16-le", "UTF-16"),
    codecs.BOM_UTF16_BE: ("utf-16-be", "UTF-16"),
}


class Pasted(Struct, frozen=True):
    """What was read, and what it was read from."""

    body: bytes
    """JSON in UTF-8: the bytes as they were, where those were JSON."""
    form: str = ""
    """What the text is, for people, where it is not plain JSON in UTF-8: "JavaScript's notation"."""


def encoding_of(raw: bytes) -> tuple[str, str, int]:
    """The encoding of a text, its name for people where it is not plain UTF-8, and the length of its mark."""
    for mark, (encoding, name) in _MARKS.items():
        if raw.startswith(mark):
            return encoding, name, len(mark)
    head = raw[:64]
    if len(head) >= 4 and len(raw) % 2 == 0:
        if not any(head[1::2]) and all(head[::2]):
            return "utf-16-le", "UTF-16 without a byte order mark", 0
        if not any(head[::2]) and all(head[1::2]):
            return "utf-16-be", "UTF-16 without a byte order mark", 0
    return "utf-8", "", 0


def decode_text(raw: bytes) -> tuple[str, str]:
    """A file's text, and the name of its encoding where that is not plain UTF-8.

    :raises ValueError: with a reason for people.
    """
    encoding, name, mark = encoding_of(raw)
    try:
        return raw[mark:].decode(encoding), name
    except UnicodeDecodeError as error:
        if name:
            raise ValueError(f"it begins as {name}, but does not go on so (byte {mark + error.start})") from None
        raise ValueError(f"it is not UTF-8 (byte {error.start})") from None


def read_pasted(raw: bytes) -> Pasted:
    """The JSON object in what somebody saved or pasted.

    :raises ValueError: where there is none, with a reason that names what the text is.
    """
    text, form = decode_text(raw)
    try:
        value = loads(text.encode())
    except ValueError as error:
        if len(text) > MAX_LENIENT:
            raise
        return _lenient(text, form, error)
    if isinstance(value, str):
        inner = read_pasted(value.encode("utf-8", "surrogatepass"))
        return Pasted(inner.body, inner.form or "JSON in a JSON string")
    return Pasted(text.encode() if form else raw, form)


_SMART = str.maketrans({**dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‘’‚‛′", "'"), "\u00a0": " "})


def _lenient(text: str, form: str, error: ValueError) -> Pasted:
    stripped = text.strip()
    if not stripped:
        raise ValueError("it is empty")
    if body := _curl_body(stripped):
        return Pasted(read_pasted(body.encode("utf-8", "surrogatepass")).body, "a curl command")
    found = list(_objects(stripped))
    if len({dumps(value) for value in found}) > 1:
        raise ValueError(f"there are {len(found)} JSON objects in it: give one of them")
    if found:
        return Pasted(dumps(found[0]), "JSON with other text around it")
    straight = stripped.translate(_SMART)
    if straight != stripped:
        for value in _objects(straight):
            return Pasted(dumps(value), "JSON with typographic quotation marks")
    _refuse_left_out(straight)
    for notation, value in _notations(straight):
        return Pasted(dumps(value), notation)
    raise ValueError(_named(straight) or f"{error}{f' (read as {form})' if form else ''}")


_BRACE = re.compile(r"[{}]")


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Each JSON object in a text that stands in no other braces; other text may stand around it."""
    decoder = json.JSONDecoder()
    depth = at = 0
    while found := _BRACE.search(text, at):
        at = found.end()
        if found[0] == "}":
            depth = max(0, depth - 1)
            continue
        if depth == 0:
            try:
                value, end = decoder.raw_decode(text, found.start())
                if isinstance(value, dict) and isinstance(loads(text[found.start() : end].encode()), dict):
                    yield value
                    at = end
                    continue
            except (ValueError, RecursionError):
                pass  # the brace belongs to other text, or to another notation
        depth += 1


_LEFT_OUT = re.compile(r"\[(?:Object|Array|Circular[^\]]*)\]|\.\.\. \d+ more (?:item|character)s?")


def _refuse_left_out(text: str) -> None:
    if found := _LEFT_OUT.search(text):
        raise ValueError(f"console.log left out a part of it ({found[0]}): print JSON.stringify(body) instead")


_SPLIT_STRING = re.compile(r"'[^\S\n]*\+[^\S\n]*\n\s*'")
_BARE_KEY = re.compile(r"[{,]\s*[A-Za-z_$][\w$]*\s*:")
_PYTHON_KEY = re.compile(r"\{\s*'[^']*'\s*:")
_UNDEFINED = re.compile(r":\s*undefined\b(?=\s*[,}])")


def _notations(text: str) -> Iterator[tuple[str, dict[str, object]]]:
    """A text read as one of the notations that look like JSON, each with its name."""
    start, end = text.find("{"), text.rfind("}") + 1
    if start < 0 or end <= start:
        return
    inner = text[start:end]
    value = _json5(_UNDEFINED.sub(": null", _SPLIT_STRING.sub("", inner)))
    name = "JavaScript's notation" if _BARE_KEY.search(inner) else "JSON with comments or commas too many"
    if value is None or _PYTHON_KEY.match(inner):
        try:
            value, name = ast.literal_eval(inner), "a Python dict as print() shows it"
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass  # not Python's, then
    if isinstance(value, dict):
        try:
            plain = loads(dumps(value))
        except (ValueError, TypeError, RecursionError):
            return
        if isinstance(plain, dict):
            yield name, plain


def _json5(text: str) -> object:
    import json5

    try:
        return json5.loads(text)
    except (ValueError, RecursionError):
        return None


_CURL = re.compile(r"^\W{0,3}\s*curl\b")
_ANSI_C = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DATA = ("--data-raw", "--data-binary", "--data-ascii", "--data", "--json", "-d")


def _curl_body(text: str) -> str | None:
    """What a curl command posts; `None` where it is no curl command.

    :raises ValueError: where it posts a file, or nothing.
    """
    if _CURL.match(text) is None:
        return None
    ansi_c = _ANSI_C.sub(lambda match: shlex.quote(_unescape(match[1])), text)
    try:
        words = shlex.split(ansi_c.replace("^\n", " ").replace("\\\n", " "))
    except ValueError as error:
        raise ValueError(f"it is a curl command that ends in the middle ({error})") from None
    for index, word in enumerate(words):
        for option in _DATA:
            if word == option:
                body = words[index + 1] if index + 1 < len(words) else ""
            elif word.startswith(option + "=" if option.startswith("--") else option) and word not in _DATA:
                body = word.removeprefix(option).removeprefix("=")
            else:
                continue
            if body.startswith("@"):
                raise ValueError(f"it is a curl command that posts a file: give {body[1:]}")
            return body
    raise ValueError("it is a curl command without a body (-d)")


def _unescape(text: str) -> str:
    plain = {"n": "\n", "t": "\t", "r": "\r"}

    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "ux" and len(code) > 1 else plain.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", one, text, flags=re.DOTALL)


_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), name)
    for pattern, name in (
        (r"^\W*(?:array|object)\s*\(|^\s*stdClass", "it is PHP's var_dump, not JSON: use json_encode"),
        (r"\w[\"']?\s*=>\s", "it is Ruby's or PHP's notation, not JSON: print its JSON"),
        (r"^\s*<", "it is HTML or XML, not JSON"),
        (r"^\s*%7B|=%7B", "it is URL-encoded, not JSON"),
        (r"^\s*map\[", "it is Go's notation, not JSON: use json.Marshal"),
        (r"[{,]\s*'[^']*'\s*:.*\b(?:None|True|False)\b", "it is Python's notation, not JSON: use json.dumps"),
        (r"[{,]\s*(?:[a-z_$][\w$]*|'[^']*')\s*:", "it is JavaScript's notation, not JSON: print JSON.stringify(body)"),
    )
)


def _named(text: str) -> str | None:
    """What a text is that cannot be read."""
    name = next((name for pattern, name in _NAMES if pattern.search(text[:4096])), None)
    if name is None and text.count("{") > text.count("}"):
        return "not JSON: it ends in the middle. Was all of it pasted?"
    return name
