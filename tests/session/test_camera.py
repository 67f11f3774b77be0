"""One participant's camera: subscribed, renewed, switched (PROTOCOL §4, `28` and `29`; §5, `data_opt` 4)."""

import pytest
from script import CONNECTED, feed, play, sent, session

from rtms_cli.machine import Warn
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.numbers import MediaType


def event(number: int, user: int, name: str = "") -> str:
    who = f'{{"user_id": {user}' + (f', "user_name": "{name}"' if name else "") + "}"
    return f'signaling {{"msg_type": 6, "event": {{"event_type": {number}, "participants": [{who}]}}}}'


ANN_ON, ANN_OFF, ANN_LEFT = event(8, 7), event(9, 7), event(4, 7)
BOB_ON, BOB_OFF = event(8, 8), event(9, 8)
ANN, BOB = event(3, 7, "Ann Arbor"), event(3, 8, "Bob")


@pytest.mark.parametrize(
    ("wanted", "events", "subscriptions"),
    [
        ("first", [ANN_ON, BOB_ON], [(7, True)]),
        ("first", [ANN_ON, BOB_ON, ANN_OFF], [(7, True), (7, False), (8, True)]),
        ("first", [ANN_ON, ANN_OFF, BOB_ON], [(7, True), (7, False), (8, True)]),
        ("first", [ANN_ON, BOB_ON, ANN_LEFT, BOB_OFF], [(7, True), (7, False), (8, True), (8, False)]),
        ("7", [], [(7, True)]),
        ("7", [BOB_ON, ANN_ON, BOB_OFF], [(7, True)]),
        ("7", [ANN_OFF, ANN_ON], [(7, True), (7, False), (7, True)]),
        ("bob", [ANN, BOB], [(8, True)]),
        ("arbor", [BOB_ON, BOB, ANN], [(7, True)]),
        ("Bob", [event(3, 9, "Bobby"), BOB, BOB_OFF, BOB_ON], [(9, True)]),
        ("bob", [BOB, event(3, 9, "Bobby"), BOB_OFF], [(8, True), (8, False), (9, True)]),
        ("zoe", [ANN, BOB, ANN_ON], []),
    ],
)
def test_who_is_watched(wanted: str, events: list[str], subscriptions: list[tuple[int, bool]]) -> None:
    machine = session(MediaRequest(MediaType.VIDEO, video_user=wanted))
    got = play(machine, CONNECTED + ("<< send signaling 28\n" if wanted == "7" else ""))
    for number, line in enumerate(events):
        got += feed(machine, 500_000 + number, line)
    assert [(each["user_id"], each["subscribe"]) for each in sent(got, 28)] == subscriptions


def test_the_subscription_is_renewed_after_a_reconnection_and_says_the_time() -> None:
    machine = session(MediaRequest(MediaType.VIDEO, video_user="7"))
    commands = play(
        machine,
        CONNECTED
        + """
        <<   send signaling 28
        1    signaling closed 1006
        <<   close media
        <<   warn signaling
        9    tick
        <<   open signaling ws://s
        9.1  signaling open
        <<   send signaling 1
        9.2  signaling {"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {"all": "ws://m"}}}
        <<   send signaling 5
        <<   open media ws://m
        9.3  media open
        <<   send media 3
        9.4  media {"msg_type": 4, "status_code": 0}
        <<   send signaling 7
        <<   send signaling 28
        """,
    )
    assert [(each["user_id"], each["timestamp"]) for each in sent(commands, 28)] == [(7, 1400), (7, 10_400)]


def test_a_refused_subscription_is_told() -> None:
    machine = session(MediaRequest(MediaType.VIDEO, video_user="7"))
    got = play(
        machine,
        CONNECTED
        + """
        <<   send signaling 28
        1    signaling {"msg_type": 29, "user_id": 7, "status_code": 44, "reason": "there already"}
        <<   warn signaling: the camera of 7 is not sent: status_code 44 STATUS_DUPLICATE_VIDEO_SUBSCRIPTION
        """,
    )
    assert sum(isinstance(command, Warn) for command in got) == 1
