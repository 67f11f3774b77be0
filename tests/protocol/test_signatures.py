"""Known answers, made here with hashlib alone, and every way in which a webhook's signature can be wrong."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.protocol.signatures import (
    MAX_AGE_S,
    WebhookCheck,
    challenge_answer,
    check_webhook,
    handshake_signature,
    webhook_signature,
)

TOKEN, NOW = "secret-token", 1_738_394_112
# Spaces, key order and the unescaped é all go when JSON is parsed and written again.
BODY = '{"payload": {"b": 1,  "a": "é"},\n"event":"meeting.rtms_started"}'.encode()


def answer(key: str, message: bytes) -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


def by_hand(key: bytes, message: bytes) -> str:
    """HMAC-SHA256 from its definition (RFC 2104)."""
    key = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


def test_the_yardstick_itself() -> None:
    # RFC 4231, test case 2
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert answer("Jefe", b"what do ya want for nothing?") == known
    assert by_hand(b"Jefe", b"what do ya want for nothing?") == known


TEXT = st.text(st.characters(codec="utf-8"), max_size=80)


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, TEXT)
def test_handshake_signature(client_id: str, secret: str, identity: str, stream_id: str) -> None:
    message = client_id + "," + identity + "," + stream_id
    signature = handshake_signature(client_id, secret, identity, stream_id)
    assert signature == answer(secret, message.encode()) == by_hand(secret.encode(), message.encode())
    assert repr(signature) == "'[redacted]'"


def test_handshake_signature_is_lower_case_hex() -> None:
    signature = handshake_signature("client", "secret", "AbC/123==", "stream123==")
    assert signature == answer("secret", b"client,AbC/123==,stream123==")
    assert len(signature) == 64
    assert set(signature) <= set("0123456789abcdef")


@settings(deadline=None)
@given(TEXT, st.integers(0, 1 << 40), st.binary())
def test_webhook_signature(token: str, timestamp: int, body: bytes) -> None:
    message = b"v0:" + str(timestamp).encode() + b":" + body
    assert webhook_signature(token, str(timestamp), body) == "v0=" + answer(token, message)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_challenge_answer(token: str, plain: str) -> None:
    assert challenge_answer(token, plain) == {"plainToken": plain, "encryptedToken": answer(token, plain.encode())}


def signed(timestamp: str = str(NOW), body: bytes = BODY, token: str = TOKEN) -> str:
    return "v0=" + answer(token, f"v0:{timestamp}:".encode() + body)


GOOD = signed()
PARSED = json.dumps(json.loads(BODY)).encode()
COMPACT = json.dumps(json.loads(BODY), ensure_ascii=False, separators=(",", ":")).encode()
CHECKS: dict[str, tuple[str | None, str | None, bytes, WebhookCheck]] = {
    "good": (GOOD, str(NOW), BODY, WebhookCheck.GOOD),
    "good: body not UTF-8": (signed(body=b"\xff\0"), str(NOW), b"\xff\0", WebhookCheck.GOOD),
    "good: empty body": (signed(body=b""), str(NOW), b"", WebhookCheck.GOOD),
    "good: as old as can be": (signed(str(NOW - 300)), str(NOW - 300), BODY, WebhookCheck.GOOD),
    "good: as early as can be": (signed(str(NOW + 300)), str(NOW + 300), BODY, WebhookCheck.GOOD),
    "missing: both": (None, None, BODY, WebhookCheck.MISSING),
    "missing: signature": (None, str(NOW), BODY, WebhookCheck.MISSING),
    "missing: timestamp": (GOOD, None, BODY, WebhookCheck.MISSING),
    "missing: empty": ("", "", BODY, WebhookCheck.MISSING),
    "malformed: text": (signed("soon"), "soon", BODY, WebhookCheck.MALFORMED),
    "malformed: fraction": (signed(f"{NOW}.0"), f"{NOW}.0", BODY, WebhookCheck.MALFORMED),
    "malformed: negative": (signed("-5"), "-5", BODY, WebhookCheck.MALFORMED),
    "malformed: not ASCII": (signed("１"), "１", BODY, WebhookCheck.MALFORMED),
    "malformed: huge": (signed("9" * 5000), "9" * 5000, BODY, WebhookCheck.MALFORMED),
    "stale: a second too old": (signed(str(NOW - 301)), str(NOW - 301), BODY, WebhookCheck.STALE),
    "stale: a second too early": (signed(str(NOW + 301)), str(NOW + 301), BODY, WebhookCheck.STALE),
    "stale: milliseconds": (signed(f"{NOW}000"), f"{NOW}000", BODY, WebhookCheck.STALE),
    "wrong: another token": (signed(token="another"), str(NOW), BODY, WebhookCheck.WRONG),
    "wrong: another timestamp": (GOOD, str(NOW + 1), BODY, WebhookCheck.WRONG),
    "wrong: a byte more": (GOOD, str(NOW), BODY + b"\n", WebhookCheck.WRONG),
    "wrong: JSON parsed and written": (GOOD, str(NOW), PARSED, WebhookCheck.WRONG),
    "wrong: JSON made compact": (GOOD, str(NOW), COMPACT, WebhookCheck.WRONG),
    "wrong: signed after parsing": (signed(body=PARSED), str(NOW), BODY, WebhookCheck.WRONG),
    "rewritten: signed as JSON.stringify writes it": (signed(body=COMPACT), str(NOW), BODY, WebhookCheck.REWRITTEN),
    "wrong: the same for a large body": (
        signed(body=b'{"a":"%s"}' % (b"x" * 70000)),
        str(NOW),
        b'{"a": "%s"}' % (b"x" * 70000),
        WebhookCheck.WRONG,
    ),
    "wrong: no v0=": (GOOD.removeprefix("v0="), str(NOW), BODY, WebhookCheck.WRONG),
    "wrong: upper case": (GOOD.upper(), str(NOW), BODY, WebhookCheck.WRONG),
    "wrong: cut": (GOOD[:-1], str(NOW), BODY, WebhookCheck.WRONG),
    "wrong: not ASCII": ("v0=é", str(NOW), BODY, WebhookCheck.WRONG),
    "wrong: not even a number": (GOOD, "soon", BODY, WebhookCheck.WRONG),
}


@pytest.mark.parametrize("name", CHECKS)
def test_checking_a_webhook(name: str) -> None:
    signature, timestamp, body, expected = CHECKS[name]
    assert check_webhook(TOKEN, signature, timestamp, body, float(NOW)) is expected


def test_the_age_that_is_refused_is_the_documented_one() -> None:
    assert MAX_AGE_S == 300
    assert check_webhook(TOKEN, GOOD, str(NOW), BODY, NOW + 300.0) is WebhookCheck.GOOD
    assert check_webhook(TOKEN, GOOD, str(NOW), BODY, NOW + 300.5) is WebhookCheck.STALE


@settings(deadline=None)
@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_any_changed_byte_is_seen(at: int, flip: int) -> None:
    changed = BODY[:at] + bytes([BODY[at] ^ flip]) + BODY[at + 1 :]
    assert check_webhook(TOKEN, GOOD, str(NOW), changed, NOW) is WebhookCheck.WRONG


# Header values reach us as Latin-1.
HEADER = st.none() | st.text(st.characters(max_codepoint=255), max_size=80)


@settings(deadline=None)
@given(HEADER, HEADER, st.binary())
def test_no_header_raises_and_none_passes_by_chance(signature: str | None, timestamp: str | None, body: bytes) -> None:
    expected = WebhookCheck.WRONG if signature and timestamp else WebhookCheck.MISSING
    assert check_webhook(TOKEN, signature, timestamp, body, NOW) is expected


def test_lone_surrogates_make_a_wrong_signature_and_no_exception() -> None:
    assert handshake_signature("id", "secret", "\ud800", "stream1") != handshake_signature(
        "id", "secret", "", "stream1"
    )
    assert challenge_answer(TOKEN, "\ud800")["plainToken"] == "\ud800"
