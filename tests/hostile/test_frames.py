"""Hostile frames: whatever a server sends, the session and the recorder go on, and the capture has all of it."""

import base64
from collections.abc import Iterable
from pathlib import Path

import pytest
from frames import ZERO_MS, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from victim import MESSAGES, Client, changed, encode, paths

ODD: list[object] = [
    None, True, "", "x", "-1", "1e999", "\x1b[2J\x00", "../../etc/passwd", "CON", "é" * 4000, "\ud800", 0, -1, 1 << 31,
    1 << 63, 1 << 64, -(1 << 70), 10**4000, 0.5, 1e308, [], {}, [[[]]], {"a": {"b": []}}, [None] * 50,
    ZERO_MS + 10**11, ZERO_MS - 10**11, "A" * 100_001, "====", "AAA", "ws://127.0.0.1:1/", "wss://x" * 500,
]  # fmt: skip
ODD_BYTES = [
    b"", b"\0", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b'{"msg_type": NaN}', b'{"msg_type": 1e400}',
    b'{"msg_type": 14, "msg_type": 12}', b'{"msg_type": 14, "content": {"data": "' + b"A" * (16 << 20) + b'"}}',
    b"[" * 200_000, b'{"a":' * 100_000, b'{"msg_type": 17, "content": {"data": "\xff"}}', b"\xef\xbb\xbf{}",
    b'{"msg_type": 12, "timestamp": NaN}', b'{"msg_type": 14, "content": {"data": "AAAA", "timestamp": Infinity}}',
    b'{"msg_type": "' + b"9" * 5000 + b'"}',
]  # fmt: skip


def mutations() -> Iterable[bytes]:
    """Each field of each message missing, and with each odd value in its place; nested ones too."""
    for message in MESSAGES:
        for path in paths(message):
            yield encode(changed(message, path, None, drop=True))
            for odd in ODD:
                yield encode(changed(message, path, odd))


@pytest.mark.parametrize("channel", ["signaling", "media"])
@pytest.mark.parametrize("greeted", [False, True])
def test_every_field_missing_null_wrong_huge_negative(channel: str, greeted: bool, tmp_path: Path) -> None:
    client = Client(tmp_path)
    if greeted:
        client.greet()
    count = 0
    for raw in mutations():
        count += 1
        client.take(channel, raw)
        if client.finish is not None:  # some of them end a session, as they should
            client.done()
            folder = tmp_path / str(count)
            folder.mkdir()
            client = Client(folder)
            if greeted:
                client.greet()
    client.done()
    assert count > 2_000


@pytest.mark.parametrize("raw", ODD_BYTES, ids=range(len(ODD_BYTES)))
def test_bytes_that_are_no_message(raw: bytes, tmp_path: Path) -> None:
    client = Client(tmp_path)
    client.greet()
    for channel in ("signaling", "media", "webhook"):
        client.take(channel, raw)
    client.done()


KEYS = (
    "msg_type content event state reason timestamp user_id data media_server server_urls status_code media_params "
    "audio participants event_type channel_id payload rtms_stream_id"
).split()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
CHANNELS = st.sampled_from(["signaling", "media", "webhook"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.lists(st.tuples(CHANNELS, st.integers(-3, 40), ANY_JSON | st.binary()), max_size=25))
def test_any_messages_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, int, object]]
) -> None:
    client = Client(tmp_path_factory.mktemp("any"))
    for channel, kind, value in said:
        if isinstance(value, dict):
            value = {"msg_type": kind} | value
        client.take(channel, value if isinstance(value, bytes) else encode(value))
    client.done()


def test_timestamps_of_any_size_write_no_silence_to_speak_of(tmp_path: Path) -> None:
    client = Client(tmp_path)
    client.greet()
    for timestamp in (ZERO_MS, 0, (1 << 63) - 1, 1 << 63, ZERO_MS - 1, ZERO_MS + 315_360_000_000, -5, ZERO_MS + 20):
        for user_id in (0, 1):
            content = {"user_id": user_id, "data": base64.b64encode(bytes(640)).decode(), "timestamp": timestamp}
            client.take("media", encode({"msg_type": 14, "content": content}))
    client.done()
    assert sum(len(content) for content in tree(tmp_path).values()) < 100_000


def test_ten_thousand_participants_with_hostile_names_stay_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    client = Client(folder)
    client.greet()
    for number in range(10_000):
        content = {"user_id": f"../{number}\0", "user_name": "../../x", "data": "AAAAAA==", "timestamp": ZERO_MS}
        client.take("media", encode({"msg_type": 14, "content": content}))
    client.done()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert client.recorder.snapshot().losses == 5_000  # MOST_TRACKS bounds what a server can do that makes people up
