"""Wrong signatures: each mistake is made here by hand, and has to be named."""

import hashlib
import hmac
import json

import pytest

from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.suspects import handshake_mistakes, webhook_mistakes
from rtms_cli.protocol.webhooks import Ids

CLIENT_ID, SECRET, TOKEN = "clientIDclientID1234", "SECRETsecretSECRETsecret12345678", "TOKENtokenTOKENtoken12"
IDS = Ids(Product.MEETING, "4lkG+W4T2/RVPqyzvR4hQ==", "609340fb2a79", others={"meeting_id": "1234567890"})
TEXT = f"{CLIENT_ID},{IDS.id},{IDS.stream_id}"
WEBHOOK = {"event": "meeting.rtms_started", "event_ts": 1738394112345, "payload": {"topic": "Zoë"}}
BODY = json.dumps(WEBHOOK, separators=(",", ":"), ensure_ascii=False).encode()
HEAD = b"v0:1738394112:"


def digest(key: str | bytes, text: str | bytes, method: str = "sha256") -> bytes:
    key, text = (one.encode() if isinstance(one, str) else one for one in (key, text))
    return hmac.new(key, text, method).digest()


RIGHT = digest(SECRET, TEXT)

HANDSHAKES = {
    "BitConverter in C#": (RIGHT.hex("-").upper(), "BitConverter"),
    "numbers": (str(list(RIGHT)), "printed as numbers"),
    "bytes in Python": (f"b'{RIGHT.hex()}'", "Python's bytes"),
    "Integer.toHexString in Java": ("".join(f"{byte:x}" for byte in RIGHT), "zeros are missing"),
    "its end only": (RIGHT.hex()[1:], "only 63 of its 64"),
    "none": ("undefined", "did not make a signature"),
    "the secret": (SECRET, "a secret itself"),
    "MD5": (digest(SECRET, TEXT, "md5").hex(), "MD5"),
    "no secret": (digest("undefined", TEXT).hex(), "client secret was undefined"),
    "a no-break space": (digest(SECRET + "\u00a0", TEXT).hex(), "a no-break space was pasted after"),
    "a byte order mark": (digest("\ufeff" + SECRET, TEXT).hex(), "a byte order mark was pasted before"),
    "half of the secret": (digest(SECRET[:-1], TEXT).hex(), "last character of the client secret is missing"),
    "no client id": (digest(SECRET, TEXT.replace(CLIENT_ID, "None")).hex(), "the client id was None"),
    "the secret as the id": (digest(SECRET, TEXT.replace(CLIENT_ID, SECRET)).hex(), "secret stands in the text"),
    "a spaced number": (digest(SECRET, TEXT.replace(IDS.id, "123 456 7890")).hex(), "written as 123 456 7890"),
    "no padding": (digest(SECRET, TEXT.replace("=", "")).hex(), "without its ="),
    "a form's blank": (digest(SECRET, TEXT.replace("+", " ")).hex(), "a blank for +"),
    "a list": (digest(SECRET, json.dumps(TEXT.split(","))).hex(), "written as a list"),
    "a comma": (digest(SECRET, TEXT + ",").hex(), "a comma at the end"),
    "no stream id": (digest(SECRET, TEXT.rpartition(",")[0]).hex(), "the stream id is missing"),
}
WEBHOOKS = {
    "another version": (b"v1:1738394112:" + BODY, "begins with 'v1:'"),
    "blanks": (b"v0: 1738394112: " + BODY, "blanks after the colons"),
    "event_ts": (b"v0:1738394112345:" + BODY, "event_ts was signed"),
    "a fraction": (b"v0:1738394112.0:" + BODY, "with a fraction"),
    "Latin-1": (HEAD + BODY.decode().encode("latin-1"), "written in LATIN-1"),
    "read as Latin-1": (HEAD + BODY.decode("latin-1").encode(), "read as LATIN-1"),
    "a byte order mark": (HEAD + b"\xef\xbb\xbf" + BODY, "a byte order mark stands before"),
    "the payload in Python": (HEAD + str(WEBHOOK["payload"]).encode(), "only payload was signed"),
    "indented in C#": (
        HEAD + json.dumps(WEBHOOK, indent=2, ensure_ascii=False).replace("\n", "\r\n").encode(),
        "indented by 2, with CR LF",
    ),
    "nothing in Ruby": (HEAD + b"nil", "the body was nil"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshakes_mistake(name: str) -> None:
    given, what = HANDSHAKES[name]
    mistakes = handshake_mistakes(given, CLIENT_ID, SECRET, IDS, {"the secret token": TOKEN})
    assert mistakes is not None
    assert len(mistakes) == 1
    assert what in mistakes[0]


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_webhooks_mistake(name: str) -> None:
    text, what = WEBHOOKS[name]
    mistakes = webhook_mistakes(f"v0={digest(TOKEN, text).hex()}", TOKEN, "1738394112", BODY, {})
    assert mistakes is not None
    assert len(mistakes) == 1
    assert what in mistakes[0]


def test_what_nothing_explains_is_no_match() -> None:
    strange = hashlib.sha256(b"strange").hexdigest()
    assert handshake_mistakes(strange, CLIENT_ID, SECRET, IDS, {}) is None
    assert handshake_mistakes(RIGHT.hex(), CLIENT_ID, SECRET, IDS, {}) == []
