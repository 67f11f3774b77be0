import json

import pytest

from rtms_cli.protocol.messages import Audio, Chat, Transcript, read
from rtms_cli.protocol.times import clock_time, milliseconds, seconds_in, spoken_length, unit

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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("0", 0), (" 2.5 ", 2.5), ("1:30", 90), ("0:10", 10), ("90:00", 5400), ("1:02:03", 3723),
        ("0:00:00.5", 0.5), ("100:00:00", 360_000), ("10s", 10), ("1m30s", 90), ("1m 30s", 90), ("2H", 7200),
        ("200ms", 0.2), ("1s200ms", 1.2), ("1.5h", 5400), ("30d", 2_592_000), ("1w", 604_800),
    ],
)  # fmt: skip
def test_times_that_people_write(text: str, seconds: float) -> None:
    assert seconds_in(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "-1", "+1", "1:60", "1:60:00", "1:2:3:4", ":30", "1:", "30s1m", "1m1m", "1e3", "nan", "inf", "٣",
     "1,5", "1" * 10, "5y", "1 2", "1:30s"],
)  # fmt: skip
def test_what_is_not_a_time_that_people_write(text: str) -> None:
    assert seconds_in(text) is None


@pytest.mark.parametrize(
    ("seconds", "clock", "spoken"),
    [
        (0, "0:00:00", "0.00 s"),
        (0.344, "0:00:00", "0.34 s"),
        (7.26, "0:00:07", "7.3 s"),
        (19.7, "0:00:19", "20 s"),
        (59.6, "0:00:59", "0:01:00"),
        (3723, "1:02:03", "1:02:03"),
        (-1, "0:00:00", "-1.00 s"),
    ],
)
def test_times_that_people_read(seconds: float, clock: str, spoken: str) -> None:
    assert (clock_time(seconds), spoken_length(seconds)) == (clock, spoken)
