"""Webhooks as people have them: read where the meaning is sure, named where it is not."""

import base64
import html
import json
import quopri
import re
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.commands.join import take_pasted
from rtms_cli.protocol.pasted import read_pasted

WEBHOOK = {
    "event": "meeting.rtms_started",
    "event_ts": 1738394112000,
    "payload": {"object": {"meeting_uuid": "Zoë/b+c==", "rtms_stream_id": "it's", "server_urls": "wss://x/y?a=1"}},
}
TEXT = json.dumps(WEBHOOK, ensure_ascii=False)
CONSOLE_LOG = """Server listens on 3000
{
  event: 'meeting.rtms_started',
  event_ts: 1738394112000,
  payload: {
    object: {
      meeting_uuid: 'Zoë/b+c==',
      rtms_stream_id: "it's",
      server_urls: 'wss://x/y' +
        '?a=1'
    }
  }
}
"""
QUOTED = TEXT.replace("'", "'\\''")
ESCAPED = TEXT.replace('"', '\\"')
INDENTED = json.dumps(WEBHOOK, ensure_ascii=False, indent=2)
CARETS = re.sub(r'(["{}:,\\])', r"^\1", ESCAPED)
AROUND = "JSON with other text around it"
LINE = '{"at": 1}\n'
ANSI_C = json.dumps(WEBHOOK).replace("\\u00eb", "\\u00EB").replace("'", "\\'")

READ = {
    "plain": (TEXT.encode(), ""),
    "a byte order mark": (TEXT.encode("utf-8-sig"), "UTF-8 with a byte order mark"),
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16"),
    "UTF-16, big-endian": (("\ufeff" + TEXT).encode("utf-16-be"), "UTF-16"),
    "UTF-16 without a mark": (json.dumps(WEBHOOK).encode("utf-16-le"), "UTF-16 without a byte order mark"),
    "UTF-32": (TEXT.encode("utf-32"), "UTF-32"),
    "a JSON string": (json.dumps(TEXT).encode(), "JSON in a JSON string"),
    "typographic quotation marks": (TEXT.replace('"', "”").encode(), "JSON with typographic quotation marks"),
    "Markdown": (f"```json\n{TEXT}\n```\n".encode(), "JSON with other text around it"),
    "a line of a log": (f"[12:03:01] INFO webhook {{ctx}} {TEXT} took 3 ms".encode(), "JSON with other text around it"),
    "the same twice": (f"{TEXT}\n{TEXT}\n".encode(), "JSON with other text around it"),
    "an HTTP request": (
        f"POST /webhook HTTP/1.1\r\nx-zm-signature: v0=1\r\n\r\n{TEXT}".encode(),
        "JSON with other text around it",
    ),
    "console.log": (CONSOLE_LOG.encode(), "JavaScript's notation"),
    "comments and commas": (f"// from Zoom\n{TEXT[:-1]},}}".encode(), "JSON with comments or commas too many"),
    "print(dict)": (str(WEBHOOK).encode(), "a Python dict as print() shows it"),
    "curl": (f"curl -X POST https://a/b -H 'content-type: x' \\\n  -d '{QUOTED}'".encode(), "a curl command"),
    "curl --data-raw=": (f'$ curl https://a/b --data-raw="{ESCAPED}"'.encode(), "a curl command"),
    "console.log of classes": (
        CONSOLE_LOG.replace("{", "Body {", 1).replace("object: {", "object: [Object: null prototype] {").encode(),
        "JavaScript's notation",
    ),
    "console.log in colours": (
        CONSOLE_LOG.replace("'meeting.rtms_started'", "\x1b[32m'meeting.rtms_started'\x1b[39m").encode(),
        "JavaScript's notation",
    ),
    "print(bytes)": (f"got {TEXT.encode()!r}".encode(), "Python's bytes as print() shows them"),
    "docker logs": (
        "\n".join(f"app-1  | {line}" for line in INDENTED.splitlines()).encode(),
        "JSON with something in front of each line",
    ),
    "a quoted mail": (
        "\n".join(f"> {line}" for line in INDENTED.splitlines()).encode(),
        "JSON with something in front of each line",
    ),
    "a form": (b"payload=" + quote_plus(TEXT).encode(), "URL-encoded JSON"),
    "HTML": (f"<pre>{html.escape(INDENTED)}</pre>".encode(), "JSON as HTML"),
    "logfmt": (f'level=info body="{ESCAPED}" ms=3'.encode(), "JSON as it stands in a string"),
    "CSV": (('1,"' + TEXT.replace('"', '""') + '"\n').encode(), "JSON as it stands in a CSV file"),
    "base64": (base64.b64encode(TEXT.encode()), "base64"),
    "a record of a log": (json.dumps({"level": 30, "body": WEBHOOK}).encode(), "JSON with a webhook in it"),
    "a Lambda event": (
        json.dumps({"body": base64.b64encode(TEXT.encode()).decode(), "isBase64Encoded": True}).encode(),
        "JSON with a webhook in it",
    ),
    "a list": (json.dumps([WEBHOOK]).encode(), "JSON with a webhook in it"),
    "a capture": (f'{{"rtms_capture": 1}}\n{{"ch": "webhook", "data": {TEXT}}}\n'.encode(), AROUND),
    "a long capture": (f'{{"ch": "webhook", "data": {TEXT}}}\n{LINE * 9000}'.encode(), "lines of JSON"),
    "an answer too": (f'POST / HTTP/1.1\r\n\r\n{TEXT}\r\nHTTP/1.1 200 OK\r\n\r\n{{"ok": 1}}'.encode(), AROUND),
    "the end of it too": (f'{TEXT}\n{{"event": "meeting.rtms_stopped", "payload": {{}}}}\n'.encode(), AROUND),
    "wrapped lines": (
        TEXT.replace("rtms_", "rtms_\n").encode(),
        "JSON whose lines a terminal has wrapped",
    ),
    "curl -sd": (f"me@host:~$ curl -sSd '{QUOTED}' https://a/b".encode(), "a curl command"),
    "curl, CR LF": (f"curl https://a/b \\\r\n  -d '{QUOTED}'\r\n".encode(), "a curl command"),
    "curl for cmd": (
        f'curl ^"https://a/b^" ^\r\n  --data-raw ^"{CARETS}^"'.encode(),
        "a curl command",
    ),
    "curl for PowerShell": (
        ("curl.exe `\r\n -d '" + TEXT.replace("'", "''") + "' https://a/b").encode(),
        "a curl command",
    ),
    "wget": (f"wget --post-data='{QUOTED}' https://a/b".encode(), "a curl command"),
    "echo": (f"echo '{QUOTED}' | curl -d @- https://a/b".encode(), "JSON in a shell's quotation marks"),
    "fetch()": (f'fetch("https://a/b", {{"body": {json.dumps(TEXT)}}});'.encode(), AROUND),
    "UTF-32 without a mark": (TEXT.encode("utf-32-le"), "UTF-32 without a byte order mark"),
    "console.log among other objects": (
        f'{CONSOLE_LOG}\ndone {{ port: 3000 }} {{"a": 1}}'.encode(),
        "JavaScript's notation",
    ),
    "console.log of two": (
        f"{CONSOLE_LOG}{{ event: 'meeting.rtms_stopped', payload: {{ stop_reason: 6 }} }}".encode(),
        "JavaScript's notation",
    ),
    "a dict among headers": (
        f"POST {WEBHOOK} headers={{'x': datetime.now()}}".encode(),
        "a Python dict as print() shows it",
    ),
    "JSON.stringify() of an object": (
        f"fetch('https://a/b', {{ body: JSON.stringify({CONSOLE_LOG[CONSOLE_LOG.index('{') :]}) }})".encode(),
        "JavaScript's notation",
    ),
    "colours that lost their escape": (
        CONSOLE_LOG.replace("'meeting.rtms_started'", "[32m'meeting.rtms_started'[39m").encode(),
        "JavaScript's notation",
    ),
    "docker's files": (
        "\n".join(json.dumps({"log": f"{line}\n", "stream": "stdout"}) for line in INDENTED.splitlines()).encode(),
        "the records of a log",
    ),
    "kubectl's files": (
        "\n".join(f"2026-11-01T10:00:00.0Z stdout F {line}" for line in INDENTED.splitlines()).encode(),
        "JSON with something in front of each line",
    ),
    "Invoke-WebRequest": (
        ('Invoke-WebRequest -Uri "https://a" `\r\n-Body "' + TEXT.replace('"', '`"') + '"').encode(),
        "JSON in PowerShell's quotation marks",
    ),
    "a form of a form": (quote_plus(quote_plus(TEXT)).encode(), "URL-encoded JSON"),
    "a mail": (quopri.encodestring(TEXT.encode()), "a mail's quoted-printable text"),
    "a Buffer in JSON": (
        json.dumps({"type": "Buffer", "data": list(TEXT.encode())}).encode(),
        "JSON with a webhook in it",
    ),
    "Go's []byte": (f"[{' '.join(map(str, TEXT.encode()))}]".encode(), "the numbers of its bytes"),
    "hex": (TEXT.encode().hex().encode(), "hex"),
    "repr(str)": (repr(json.dumps(WEBHOOK)).encode(), "a Python string as repr() shows it"),
    "curl $'…'": (f"curl https://a/b --data-binary $'{ANSI_C}' --compressed".encode(), "a curl command"),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_sure_is_read(name: str) -> None:
    raw, form = READ[name]
    pasted = read_pasted(raw)
    assert (json.loads(pasted.body), pasted.form) == (WEBHOOK, form)


def test_the_bytes_that_were_signed_are_kept() -> None:
    body = '{"event":  "meeting.rtms_started", "payload": {"a": 1.0}}'
    request = f"POST / HTTP/1.1\r\nX-Zm-Signature: v0=5d\r\nx-zm-request-timestamp: 17\r\n\r\n{body}\r\n"
    for text in (request, f"curl -H 'x-zm-signature: v0=5d' -H 'x-zm-request-timestamp: 17' -d '{body}' https://a/b"):
        pasted = read_pasted(text.encode())
        assert (pasted.body.decode(), pasted.timestamp, pasted.signature) == (body, "17", "v0=5d")
        assert pasted.is_verbatim
    record = {"headers": {"x-zm-signature": "v0=5d", "x-zm-request-timestamp": "17"}, "body": body}
    pasted = read_pasted(json.dumps(record).encode())
    assert (pasted.body.decode(), pasted.timestamp, pasted.signature) == (body, "17", "v0=5d")
    assert not read_pasted(json.dumps({"level": 1, "body": json.loads(body)}).encode()).is_verbatim


def test_typographic_marks_inside_of_texts_stay() -> None:
    text = "{“event”: “a”, “payload”: {“topic”: “Ann’s ‘big’ day”}}"
    assert json.loads(read_pasted(text.encode()).body)["payload"] == {"topic": "Ann’s ‘big’ day"}


def test_plain_json_is_not_touched() -> None:
    raw = b' {"a":  1.0, "b": "\\u00e9"}\n'
    assert read_pasted(raw).body == raw


REFUSED = {
    "console.log, cut short": ("{ event: 'x', payload: { object: [Object] } }", "console.log left out a part of it"),
    "JavaScript": ("{ event: new Date(), payload: 1 }", "JavaScript's notation, not JSON"),
    "Python": ("{'a': None, 'b': datetime.now()}", "Python's notation, not JSON"),
    "PHP": ('array(1) {\n ["event"]=>\n string(1) "x"}', "PHP's var_dump, not JSON"),
    "Ruby": ('{"event" => "x"}', "Ruby's or PHP's notation, not JSON"),
    "Go": ("map[event:x]", "Go's notation, not JSON"),
    "HTML": ("<!doctype html><html></html>", "HTML or XML, not JSON"),
    "a form, cut": ("payload=%7B%22a%22%3A", "URL-encoded, not JSON"),
    "a browser's console": ("{event: 'x', payload: {…}}", "left out a part of it .{…}"),
    "a JavaScript object as text": ("webhook: [object Object]", "left out a part of it"),
    "a Buffer": ("<Buffer 7b 22 65 ... 412 more bytes>", "left out a part of it"),
    "Rust": ('Object {"event": String("x")}', "Rust's notation"),
    "Go's %#v": ('map[string]interface {}{"payload":map[string]interface {}{"a":"b"}, "c":2}', "Go's notation"),
    "Go's %v": ("{meeting.rtms_started 17 {a b}}", "Go's notation"),
    "Elixir": ('%{"event" => "x"}', "Elixir's notation"),
    "C#": ("Webhook { Event = x, EventTs = 1 }", "how a program prints objects"),
    "a log with a Java object": ("10:00 INFO Webhook(event=x, ts=1)", "how a program prints objects"),
    "a form's fields": ("event=x&payload%5Ba%5D=1", "a form"),
    "JSON, left out": ('{"event": "x", ...}', "left out a part of it"),
    "console.log, cut": ("{ event: 'x', payload: {", "JavaScript's notation.*Was all of it pasted"),
    "Python with its own objects": ("{'event': 'x', 'at': datetime.date(1, 1, 1)}", "Python's notation"),
    "Java": ("{event=x, payload={a=1}}", "how a program prints objects"),
    "a Go struct": ("{Event:x Payload:{A:1}}", "Go's notation"),
    "YAML": ("event: x\npayload:\n  a: 1\n", "YAML"),
    "a hex dump": ('00000000  7b 22 65 76 65 6e 74 22  |{"event"|', "a hex dump"),
    "two starts": (
        '{"event": "a.rtms_started", "payload": {}}\n{"event": "b.rtms_started", "payload": {}}',
        "there are 2 webhooks in it .a.rtms_started, b.rtms_started.",
    ),
    "curl, a form": ("curl -F a=b https://a/b", "posts a form"),
    "curl, of another command": ('curl -d "$(cat x)" https://a/b', "posts what another one prints"),
    "two webhooks": ('{"a": 1}\n{"a": 2}\n', "there are 2 JSON objects in it"),
    "half of it": (TEXT[:-9], "ends in the middle"),
    "a comma too many inside only": ('{"a": {"b": 1}, "c": }', "not JSON"),
    "nothing": ("  \n", "it is empty"),
    "curl, a file": ("curl -d @body.json https://a/b", "posts a file: give body.json"),
    "curl, nothing": ("curl https://a/b", "without a body"),
    "curl, cut": ("curl https://a/b -d '{", "ends in the middle"),
    "deep": ("[" * 20_000, "deeper than"),
    "deep JavaScript": ("{a:" * 5_000 + "}" * 5_000, "JavaScript's notation"),
    "long": ("{a:" * 25_000, "not JSON|deeper than"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_sure_is_named(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        read_pasted(text.encode())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xfea", "UTF-16, but"),
        (b"caf\xe9", "not UTF-8 .byte 3.: save it as UTF-8"),
        (TEXT.encode("utf-16-le") + b"\n", "UTF-16 without a byte order mark, but"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04\x14\x00", "a ZIP file or an office document"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"{\\rtf1\\ansi", "RTF"),
    ],
)
def test_bytes_that_are_no_text(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_pasted(raw)


PIECES = (
    "{",
    "}",
    "a:",
    "'x'",
    '"y"',
    ",",
    "[Object]",
    "curl ",
    "-d ",
    "$'",
    "\\u",
    "None",
    "=>",
    "“",
    "\ud83d",
    " ",
    "\n",
)


@settings(deadline=None)
@given(
    st.binary()
    | st.lists(st.sampled_from(PIECES), max_size=40).map(lambda p: "".join(p).encode("utf-8", "surrogatepass"))
)
def test_anything_is_read_or_named(raw: bytes) -> None:
    try:
        pasted = read_pasted(raw)
    except ValueError:
        return
    json.loads(pasted.body)


def test_lines_are_taken_until_they_are_whole() -> None:
    lines = iter([*CONSOLE_LOG.encode().splitlines(keepends=True), b"left\n"])
    assert json.loads(read_pasted(take_pasted(lines)).body) == WEBHOOK
    assert list(lines) == [b"left\n"]
    assert take_pasted([b"\xff\n", b"{}"]) == b"\xff\n{}"
