import json

import pytest

from rtms_cli.protocol.messages import Audio, Chat, Transcript, read
from rtms_cli.protocol.times import milliseconds, unit

T = 1_783_000_000_123


@pytest.mark.parametrize(
    ("given", "read_as", "its_unit"),
    [
        (T, T, "ms"),
        (T // 1000, T // 1000 * 1000, "s"),
        (T * 1000 + 499, T, "µs"),
        (T * 1000 + 500, T + 1, "µs"),
        (T * 1_000_000, T, "ns"),
        (1_783_000_000.123, T, "s"),
        (T + 0.4, T, "ms"),
        (float(T), T, "ms"),
        (T * 1000 + 0.25, T, "µs"),
        (10**9, 10**12, "s"),
        (9 * 10**12 - 1, 9 * 10**12 - 1, "ms"),
        (10**13, 10**13, ""),
        (2**63 - 1, 2**63 - 1, ""),
        (0, 0, ""),
        (5000, 5000, ""),
        (12.5, 12, ""),
        (-T, -T, ""),
        (10**40, 10**40, ""),
    ],
)
def test_the_unit_is_told_by_the_size(given: float, read_as: int, its_unit: str) -> None:
    assert milliseconds(given) == read_as
    assert milliseconds(str(given)) == read_as or len(str(given)) >= 40
    assert unit(given) == its_unit


@pytest.mark.parametrize(
    "given", [None, "", "soon", "nan", "inf", float("nan"), float("-inf"), True, [T], {}, "9" * 50]
)
def test_what_is_no_time(given: object) -> None:
    assert milliseconds(given) is None


@pytest.mark.parametrize("stamp", [T, T * 1000, "1783000000123", 1_783_000_000.123, T * 1_000_000])
@pytest.mark.parametrize("kind", [14, 17, 18])
def test_messages_in_any_unit(kind: int, stamp: object) -> None:
    content = {"user_id": 1, "data": "AAAA", "timestamp": stamp, "start_time": stamp, "end_time": stamp}
    message = read(json.dumps({"msg_type": kind, "content": content}).encode())
    assert isinstance(message, Audio | Transcript | Chat)
    assert message.timestamp == T
    if isinstance(message, Transcript):
        assert (message.start_time, message.end_time) == (T, T)
