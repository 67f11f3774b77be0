"""Webhooks as people have them: read where the meaning is sure, named where it is not."""

import json

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
    "curl $'…'": (f"curl https://a/b --data-binary $'{ANSI_C}' --compressed".encode(), "a curl command"),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_sure_is_read(name: str) -> None:
    raw, form = READ[name]
    pasted = read_pasted(raw)
    assert (json.loads(pasted.body), pasted.form) == (WEBHOOK, form)


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
    "a form": ("payload=%7B%22a%22%3A1%7D", "URL-encoded, not JSON"),
    "two webhooks": ('{"a": 1}\n{"a": 2}\n', "there are 2 JSON objects in it"),
    "half of it": (TEXT[:-9], "ends in the middle"),
    "a comma too many inside only": ('{"a": {"b": 1}, "c": }', "not JSON"),
    "nothing": ("  \n", "it is empty"),
    "curl, a file": ("curl -d @body.json https://a/b", "posts a file: give body.json"),
    "curl, nothing": ("curl https://a/b", "without a body"),
    "curl, cut": ("curl https://a/b -d '{", "ends in the middle"),
    "deep": ("[" * 100_000, "deeper than"),
    "deep JavaScript": ("{a:" * 5_000 + "}" * 5_000, "JavaScript's notation"),
    "long": ("{a:" * 50_000, "not JSON|deeper than"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_sure_is_named(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        read_pasted(text.encode())


@pytest.mark.parametrize(("raw", "reason"), [(b"\xff\xfea", "UTF-16, but"), (b"caf\xe9", "not UTF-8 .byte 3")])
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
