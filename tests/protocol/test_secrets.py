"""Secrets under their keys, in URLs, and by value; whatever a text is like, it takes a bounded number of looks."""

import base64
import json

import pytest

from rtms_cli.protocol.secrets import _STEMS, REDACTED, SECRET_ENDINGS, Secrets, redact, redact_text, redact_url

SIGNATURE = "0f1e2d3c4b5a69788796a5b4c3d2e1f000112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://rtms.zoom.us/x?token=abc&y=1", "wss://rtms.zoom.us/x?token=[redacted]&y=1"),
        ("wss://h/?access_token=a.b-c", "wss://h/?access_token=[redacted]"),
        ("wss://h/?X-Amz-Signature=a%2Fb#f", "wss://h/?X-Amz-Signature=[redacted]#f"),
        ("wss://user:pass@h:1/x", "wss://[redacted]@h:1/x"),
        ("wss://h/a?token=1,wss://h/b?sig=2", "wss://h/a?token=[redacted],wss://h/b?sig=[redacted]"),
        ("wss://h/x?monkeys=3&page=2", "wss://h/x?monkeys=3&page=2"),
        ("see a@b.c", "see a@b.c"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    body = {"server_urls": {"all": [url]}, "msg_type": 99}
    assert json.loads(redact(json.dumps(body).encode())) == {"server_urls": {"all": [shown]}, "msg_type": 99}


def test_what_people_say_is_theirs() -> None:
    said = b'{"msg_type":18,"content":{"data":"try wss://h/?token=abc"}}'
    assert redact(said) is said


@pytest.mark.parametrize(
    "echo",
    [
        SIGNATURE,
        SIGNATURE.upper(),
        f"got {SIGNATURE}, want another",
        SIGNATURE[:32],
        SIGNATURE[-30:],
        SIGNATURE.encode().hex(),
        base64.b64encode(SIGNATURE.encode()).decode(),
        base64.b64encode(f"x{SIGNATURE}".encode()).decode(),
        base64.urlsafe_b64encode(f"xy{SIGNATURE}".encode()).decode(),
        f"signature%3D{SIGNATURE}",
    ],
)
def test_a_known_secret_is_hidden_wherever_and_however_it_comes_back(echo: str) -> None:
    secrets = Secrets([SIGNATURE])
    plain = json.dumps({"msg_type": 4, "reason": echo, "deep": [{"x": [echo]}], f"key {echo}": 1}).encode()
    escaped = plain.replace(b"1", b"\\u0031").replace(b"x", b"\\u0078")
    for raw in (plain, escaped, plain[1:], escaped[1:]):
        hidden = secrets.hide(raw).decode()
        assert hidden.count(REDACTED) == 3
        assert SIGNATURE[:23] not in hidden.lower()
        assert SIGNATURE[-23:] not in hidden.lower()
    assert REDACTED in secrets.hide_text(echo)


def test_what_only_looks_like_a_secret_stays() -> None:
    secrets = Secrets([SIGNATURE, "short"])
    raw = b'{"msg_type":6,"x":"short 0f1e2d3c4b5a6978 99aabbccddeef"}'
    assert Secrets().hide(raw) is raw
    assert secrets.hide(b'{"a":"short"}') == b'{"a":"short"}'
    noise = b'{"a": "\\u0041", NaN'
    assert secrets.hide(noise) is noise
    assert secrets.hide(raw.replace(b"0f1e2d3c4b5a6978", b"0f1e2d3c")) == raw.replace(b"0f1e2d3c4b5a6978", b"0f1e2d3c")


@pytest.mark.parametrize("unit", [b'"token":"', b'"token" ', b'"signature":{}', b"\\u0074oken"])
def test_what_is_no_json_and_has_too_much_to_look_at_is_not_kept_behind_that(unit: bytes) -> None:
    kept = redact_text(b"x" * (1 << 20) + unit * 20_000 + b"the end")
    assert kept.startswith(b"x" * (1 << 20))
    assert kept.endswith((REDACTED.encode(), b'"' + REDACTED.encode() + b'"'))
    assert b"the end" not in kept


def test_in_a_large_frame_the_secret_is_hidden_and_a_picture_stays() -> None:
    secrets = Secrets([SIGNATURE])
    picture = "A" * (2 << 20)
    raw = json.dumps({"msg_type": 15, "content": {"user_name": SIGNATURE, "data": picture}}).encode()
    assert json.loads(secrets.hide(raw)) == {"msg_type": 15, "content": {"user_name": REDACTED, "data": picture}}
    noise = b"[" * (2 << 20)
    assert secrets.hide(noise + SIGNATURE.upper().encode() + noise) == noise + REDACTED.encode()
    assert secrets.hide(noise) is noise


def test_every_secrets_key_has_a_stem_that_is_looked_for() -> None:
    assert all(any(stem.decode() in ending for stem in _STEMS) for ending in SECRET_ENDINGS)
