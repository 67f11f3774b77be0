"""Events: what is subscribed to, and a server that does not have all of it (PROTOCOL §6)."""

import pytest
from msgspec import structs
from script import AUDIO, CONNECTED, STREAM, play, sent, session

from rtms_cli.machine import Command
from rtms_cli.protocol.numbers import Product
from rtms_cli.session.rules import events_to_subscribe

OF_MEETINGS = [2, 3, 4, 5, 6, 8, 9, *range(10, 15)]
ONE_BY_ONE = "\n".join("<< send signaling 5" for _ in OF_MEETINGS)
BACK = """
{t}    tick
<<     open signaling ws://s
{t}.1  signaling open
<<     send signaling 1
{t}.2  signaling {{"msg_type": 2, "status_code": 0, "server_urls": {{"all": "ws://m"}}}}
"""


def events(commands: list[Command]) -> list[list[object]]:
    """The events of each `5`."""
    return [[event["event_type"] for event in asked["events"]] for asked in sent(commands, 5)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (Product.MEETING, OF_MEETINGS),
        (Product.WEBINAR, OF_MEETINGS),
        (Product.VIDEO_SDK, [2, 3, 4, 5, 6, 8, 9]),
        (Product.PHONE, [2, 3, 4, 5, 6, 8, 9]),
        (Product.CONTACT_CENTER, [2, 3, 4, *range(8, 35)]),
    ],
)
def test_what_is_subscribed_to(product: Product, expected: list[int]) -> None:
    assert list(events_to_subscribe(product)) == expected
    assert events(play(session(AUDIO, structs.replace(STREAM, product=product)), CONNECTED)) == [expected]


@pytest.mark.parametrize(
    "refusal",
    [
        '{"msg_type": 5, "status_code": 6, "reason": "no such event"}',
        '{"msg_type": 5, "status_code": 99, "reason": "no such event"}',
        '{"msg_type": 5, "status": "42"}',
        '{"msg_type": 2, "status_code": 5}',
        '{"msg_type": 6, "status_code": "STATUS_INVALID_EVENT_SUBSCRIBE"}',
        '{"msg_type": 6, "event": {"event_type": 14, "status_code": 6}}',
        '{"msg_type": 6, "status": 6}',
        '{"msg_type": "EVENT_SUBSCRIPTION_RESP", "status_code": 6, "reason": 7}',
        '{"msg_type": 99, "status_code": 42.0}',
    ],
)
def test_a_list_that_is_refused_is_asked_for_one_by_one(refusal: str) -> None:
    machine = session()
    commands = play(
        machine,
        f"""{CONNECTED}
        0.5  signaling {refusal}
        <<   warn signaling: events are rejected: status_code
        {ONE_BY_ONE}
        0.6  signaling {refusal}
        <<   warn signaling: an event is not sent: status_code
        0.7  signaling {refusal}
        <<   warn signaling: an event is not sent: status_code
        5    signaling closed 1006
        <<   close media
        <<   warn signaling: lost
        {BACK.format(t=9)}
        {ONE_BY_ONE}
        <<   open media ws://m
        """,
    )
    assert events(commands) == [OF_MEETINGS, *([event] for event in OF_MEETINGS), *([event] for event in OF_MEETINGS)]


@pytest.mark.parametrize(
    "other",
    [
        '{"msg_type": 5, "status_code": 0}',
        '{"msg_type": 5, "events": []}',
        '{"msg_type": 29, "user_id": 1, "status_code": 0}',
        '{"msg_type": 2, "status_code": 3}',
        '{"msg_type": 6, "event": {"event_type": 6}}',
        '{"msg_type": 6, "event": {"event_type": 14, "user_id": 3, "status": 5}}',
        '{"msg_type": 99, "status_code": 3}',
        '{"msg_type": 99}',
    ],
)
def test_what_is_no_refusal(other: str) -> None:
    play(session(), f"{CONNECTED}\n0.5 signaling {other}")


def test_a_server_that_closes_for_the_events_is_asked_for_fewer_and_then_for_none() -> None:
    up = CONNECTED.split("0.3")[0]
    commands = play(
        session(),
        f"""{up}
        0.9  signaling closed 1008 bad event
        <<   warn signaling: closed with 1008 right after the events were asked for: next time without the newest ones
        <<   close media
        <<   warn signaling: lost
        {BACK.format(t=5)}
        <<   send signaling 5
        <<   open media ws://m
        5.3  signaling closed 1000
        <<   warn signaling: closed with 1000 right after the events were asked for: next time without events
        <<   close media
        <<   warn signaling: lost
        {BACK.format(t=10)}
        <<   open media ws://m
        10.3 signaling closed 1000
        <<   close media
        <<   warn signaling: lost
        """,
    )
    assert events(commands) == [OF_MEETINGS, OF_MEETINGS[:7]]


@pytest.mark.parametrize(("at_s", "code"), [(0.5, 1006), (0.5, 1001), (0.5, 1005), (3, 1000)])
def test_a_socket_that_is_lost_is_not_closed_for_the_events(at_s: float, code: int) -> None:
    commands = play(
        session(),
        f"""{CONNECTED}
        {at_s} signaling closed {code}
        <<   close media
        <<   warn signaling: lost
        {BACK.format(t=8)}
        <<   send signaling 5
        <<   open media ws://m
        """,
    )
    assert events(commands) == [OF_MEETINGS, OF_MEETINGS]
