"""What a webhook may be wrapped in, and in which notations it may stand; see `pasted`."""

import ast
import base64
import html
import json
import quopri
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

from msgspec import structs

from rtms_cli.protocol.curl import posted_by
from rtms_cli.protocol.notations import LEFT_OUT, named, notations, refuse_left_out
from rtms_cli.protocol.pasted import Pasted, is_webhook
from rtms_cli.protocol.saved import SMART, SMART_DOUBLE
from rtms_cli.protocol.strict_json import dumps, is_json, loads
from rtms_cli.protocol.texts import utf8

MAX_LENIENT = 64 * 1024
"""Characters of a text that is not JSON which are looked at more closely. A webhook has some 2,000."""

_MAX_LAYERS = 3
"""How many things may be around JSON: a base64 text in a record in a list."""
_MAX_SCRIPTS = 4
"""How many objects in other notations are read: each takes long."""
_MAX_BRACED = 1_000
_MAX_LINES = 10_000
_MAX_TRIES = 100
"""How many texts in a record are looked at more closely."""

_HEADER = re.compile(
    r"x[-_]zm[-_](request[-_]timestamp|signature)[\\\"']{0,4}\s*(?:=>|[:=,])?\s*"
    r"(?:[\\\"']{0,4}value[\\\"']{0,4}\s*:\s*)?[\\\"']{0,4}((?:v0=)?[\w+/-]+)",
    re.IGNORECASE,
)


def unwrap(text: str) -> Pasted:
    """The JSON in a text, with the headers that verify it where those are there; `form` is empty if it is all.

    :raises ValueError: if there is none, with a reason that names what the text is.
    """
    found = _read(text)
    if not found.form:
        return found
    headers: dict[str, set[str]] = {}
    for name, value in _HEADER.findall(text[:MAX_LENIENT]):
        headers.setdefault(name.lower().replace("_", "-"), set()).add(value)
    single = {name: values.pop() for name, values in headers.items() if len(values) == 1}
    return structs.replace(found, timestamp=single.get("request-timestamp"), signature=single.get("signature"))


def _read(text: str, layers: int = 0) -> Pasted:
    if layers > _MAX_LAYERS:
        raise ValueError("it is JSON in JSON, many times over")
    try:
        value = loads(utf8(text))
    except ValueError as error:
        if len(text) <= MAX_LENIENT:
            return _lenient(text, layers, error)
        if (found := _only(_in_lines(text))) is None:
            raise
        return _as(found, "lines of JSON")
    if isinstance(value, str):
        return _as(_read(value, layers + 1), "JSON in a JSON string")
    if not is_webhook(value) and (found := _only(_webhooks_in(value, None, layers))) is not None:
        return _as(found, "JSON with a webhook in it")
    return Pasted(utf8(text))


def _lenient(text: str, layers: int, error: ValueError) -> Pasted:
    text = _COLOUR.sub("", text).strip(_STRAY)
    if not text:
        raise ValueError("it is empty")
    reason: ValueError | None = None
    if _QUOTED_PRINTABLE.search(text):
        plain = quopri.decodestring(utf8(text)).decode(errors="replace")
        return _as(_read(plain, layers + 1), "a mail's quoted-printable text")
    try:
        if (body := posted_by(text)) is not None:
            return _as(_read(body, layers + 1), "a curl command")
    except ValueError as why:
        reason = why
    found = [(value, own) for value, own in _objects(text) if value]
    webhook = _only(one for value, own in found for one in _webhooks_in(value, own, layers))
    if webhook is not None:
        return _as(webhook, "JSON with other text around it")
    straight = text.translate(SMART_DOUBLE if any(map(SMART_DOUBLE.get, map(ord, text))) else SMART)
    if reason is not None and straight == text:
        raise reason
    for form, inner in _layers(text):
        try:
            unwrapped = _read(inner, layers + 1)
        except ValueError as why:
            reason = why
            continue
        if not found or is_webhook(loads(unwrapped.body)):
            return _as(unwrapped, form)
    if (script := _only(_scripts(text))) is not None:
        return script
    if len({dumps(value) for value, _ in found}) > 1:
        raise ValueError(f"there are {len(found)} JSON objects in it: give one of them")
    if found:
        return Pasted(utf8(found[0][1]), "JSON with other text around it")
    if "control character" in str(error) and is_json(joined := utf8("".join(text.splitlines()))):
        return Pasted(joined, "JSON whose lines a terminal has wrapped")
    refuse_left_out(text)
    for notation, value in notations(text):
        return Pasted(dumps(value), notation, is_verbatim=False)
    if straight != text:
        found_too = _lenient(straight, layers, error)
        form = found_too.form if found_too.form == "a curl command" else "JSON with typographic quotation marks"
        return structs.replace(found_too, form=form, is_verbatim=False)
    raise ValueError(named(text) or str(reason or error))


_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z~]|(?:\\u001b|\\x1b|#033|\^\[|␛|\ufffd)?\[\d{1,2}(?:;\d{1,3})*m")
_QUOTED_PRINTABLE = re.compile(r"=\r?\n(?s:.*)=3D|=3D(?s:.*)=\r?\n")
_STRAY = " \t\r\n\f\v\0\x1a\u00a0\u200b\u2060\ufeff"
_BRACE = re.compile(r"[{}]")


def _as(found: Pasted, form: str) -> Pasted:
    """What was found, under the name of what it was found in; what is in the middle needs no name."""
    return structs.replace(found, form=form)


def _only(found: Iterable[Pasted]) -> Pasted | None:
    """The only webhook among some, or the only one that starts a stream; `None` if there is none.

    :raises ValueError: if it is not sure which one is meant.
    """
    webhooks: dict[bytes, tuple[str, Pasted]] = {}
    for one in found:
        value = loads(one.body)
        if isinstance(value, dict):
            webhooks.setdefault(dumps(value), (str(value["event"]), one))
    starts = [one for event, one in webhooks.values() if event.endswith("rtms_started")]
    if len(webhooks) == 1 or len(starts) == 1:
        return (starts or [one for _, one in webhooks.values()])[0]
    if webhooks:
        events = ", ".join(sorted({event[:60] for event, _ in webhooks.values()})[:5])
        raise ValueError(f"there are {len(webhooks)} webhooks in it ({events}): give one of them")
    return None


def _webhooks_in(value: object, own: str | None, layers: int) -> Iterator[Pasted]:
    """The webhooks in a value, such as a log's record, a saved request, or a line of a capture.

    :param own: the value as it stands in the text, if it does.
    """
    if is_webhook(value):
        yield Pasted(dumps(value) if own is None else utf8(own), is_verbatim=own is not None)
        return
    left, tries = [value], _MAX_TRIES
    while left:
        one = left.pop()
        if is_webhook(one):
            yield Pasted(dumps(one), is_verbatim=False)
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += [text] if (text := _text_of_numbers(one)) else one
        elif isinstance(one, str) and layers < _MAX_LAYERS and tries and _may_hold_one(one):
            tries -= 1
            try:
                inner = _read(one, layers + 1)
                found = loads(inner.body)
            except ValueError:
                continue  # a text that only mentions one
            if is_webhook(found):
                yield inner


def _text_of_numbers(values: list[object]) -> str | None:
    """A text whose bytes were printed one by one, as Node's Buffer does in JSON."""
    numbers = [value for value in values if isinstance(value, int) and 0 < value < 256]
    if len(numbers) < max(2, len(values)):
        return None
    try:
        return bytes(numbers).decode()
    except UnicodeDecodeError:
        return None


def _may_hold_one(text: str) -> bool:
    return ("event" in text and "payload" in text) or (len(text) >= 100 and bool(_BASE64.fullmatch(text)))


def _in_lines(text: str) -> Iterator[Pasted]:
    for line in text.splitlines()[:_MAX_LINES]:
        if "event" in line and "payload" in line:
            try:
                value = loads(utf8(line))
            except ValueError:
                continue  # a line of something else
            yield from _webhooks_in(value, line, 0)


def _objects(text: str) -> Iterator[tuple[dict[str, object], str]]:
    """Each JSON object in a text that stands in no other braces, and its own text; other text may stand around it."""
    decoder = json.JSONDecoder()
    depth = at = 0
    while found := _BRACE.search(text, at):
        at = found.end()
        if found[0] == "}":
            depth = max(0, depth - 1)
            continue
        if depth == 0:
            try:
                _, end = decoder.raw_decode(text, found.start())
                own = text[found.start() : end]
                value = loads(utf8(own))
            except (ValueError, RecursionError):
                value = None  # the brace belongs to other text, or to another notation
            if isinstance(value, dict):
                yield value, own
                at = end
                continue
        depth += 1


def _scripts(text: str) -> Iterator[Pasted]:
    """The webhooks in a text that JavaScript or Python printed, whatever other braces are around them."""
    at, tries = 0, _MAX_SCRIPTS
    for start, end in _braced(text)[:_MAX_BRACED]:
        inner = text[start:end]
        if start < at or not tries or not _may_hold_one(inner) or LEFT_OUT.search(inner):
            continue
        tries -= 1
        for notation, value in notations(inner):
            if is_webhook(value):
                yield Pasted(dumps(value), notation, is_verbatim=False)
                at = end


def _braced(text: str) -> list[tuple[int, int]]:
    """Where each pair of braces begins and ends; an outer one comes before those in it."""
    opened: list[int] = []
    found = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            found.append((opened.pop(), brace.end()))
    return sorted(found)


_RECORD_KEYS = ("log", "message", "MESSAGE", "textPayload", "line")


def _joined_records(lines: list[str]) -> str:
    """The text whose lines are in a log's records, a JSON object a line; empty if it is something else."""
    parts = []
    for line in lines:
        try:
            record = loads(utf8(line))
        except ValueError:
            return ""
        said = next((record[key] for key in _RECORD_KEYS if key in record), None) if isinstance(record, dict) else None
        if not isinstance(said, str):
            return ""
        parts.append(said.rstrip("\r\n"))
    return "\n".join(parts) if len(parts) > 1 else ""


_PYTHON_BYTES = re.compile(r"""\bb('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.DOTALL)
_BACKSLASHES = re.compile(r'\{(?:\\[nrt]|\s)*\\"')
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_PREFIX = re.compile(
    r"^(?:\s*>+ ?|\+ ?|[\w.-]+\s*\| ?|\s*\d+(?:[:|.)\t] ?| +)|.{0,80}?\]: ?"
    r"|.{0,12}\d\d:\d\d:\d\d\S*\s+(?:std(?:out|err) [FP] |\w+\s+)?)"
)


def _layers(text: str) -> Iterator[tuple[str, str]]:
    """What may be wrapped around JSON, each told by its marks, with what is left without it."""
    start, end = text.find("{"), text.rfind("}") + 1
    for literal in _PYTHON_BYTES.findall(text):
        try:
            plain = ast.literal_eval(f"b{literal}").decode()
        except (ValueError, SyntaxError, UnicodeError):
            continue  # not bytes of a text
        yield "Python's bytes as print() shows them", plain
    if "&quot;" in text or "&#34;" in text or "&#x22;" in text:
        yield "JSON as HTML", html.unescape(text)
    if _BACKSLASHES.match(text, start):
        try:
            plain = json.loads(f'"{text[start:end]}"', strict=False)
        except ValueError:
            pass  # backslashes of something else
        else:
            yield "JSON as it stands in a string", plain
    if re.match(r'\{\s*""', text[max(0, start) :]):
        yield "JSON as it stands in a CSV file", text[start:end].replace('""', '"')
    if found := re.search(r"%(?:25)*7B\S*", text, re.IGNORECASE):
        encoded = found[0].partition("&")[0]
        yield "URL-encoded JSON", unquote(encoded) if "%20" in encoded else unquote_plus(encoded)
    if _BASE64.fullmatch(word := "".join(text.split())):
        try:
            plain = base64.b64decode(word.translate({45: 43, 95: 47}) + "==").decode()
        except ValueError:
            plain = ""  # a long word
        if "{" in plain:
            yield "base64", plain
    if re.fullmatch(r"(?:0x|\\x)?7b(?:[0-9a-f]{2})+", word, re.IGNORECASE):
        yield "hex", bytes.fromhex(word[word.lower().index("7b") :]).decode(errors="replace")
    if re.fullmatch(r"\[?123(?:[\s,]+\d{1,3})+\]?", text):
        yield "the numbers of its bytes", f"[{','.join(re.findall(r'[0-9]+', text))}]"
    if text[0] == text[-1] == "'" and "\\" in text:
        try:
            plain = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            plain = ""  # not a literal of Python's
        if isinstance(plain, str) and "{" in plain:
            yield "a Python string as repr() shows it", plain
    if '`"' in text:
        yield "JSON in PowerShell's quotation marks", text.replace('`"', '"')
    if "'\\''" in text:
        yield "JSON in a shell's quotation marks", text.replace("'\\''", "'")
    lines = [line for line in text.splitlines() if line.strip()]
    if joined := _joined_records(lines):
        yield "the records of a log", joined
    if len(lines) > 1:
        bare = [_PREFIX.sub("", line, count=1) for line in lines]
        if all(left != line for left, line in zip(bare, lines, strict=True)):
            yield "JSON with something in front of each line", "\n".join(bare)
