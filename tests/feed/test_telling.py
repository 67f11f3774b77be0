"""What the feed says of a frame."""

from typing import Any

import pytest
from frames import ZERO_MS, media, said

from rtms_cli.feed.messages import Event
from rtms_cli.feed.telling import event_of
from rtms_cli.machine import Direction, Frame
from rtms_cli.protocol.numbers import Product


def told(frame: Frame) -> Event:
    return event_of(1, "2026-01-02T03:04:05.000Z", "stream", frame, Product.MEETING)


@pytest.mark.parametrize(
    ("attribute", "text", "shown", "change"),
    [
        (None, "Helo", "Helo", ""),
        (0, "Helo", "Helo", ""),
        (1, "Helo", "Helo", ""),
        (2, "Hello", "(corrected) Hello", "update"),
        (3, "", "(taken back)", "delete"),
        (3, "Hello", "(taken back) Hello", "delete"),
        (9, "Hello", "Hello", ""),
    ],
)
def test_a_line_that_changes_another_one_says_so(attribute: int | None, text: str, shown: str, change: str) -> None:
    frame = media(17, text, ZERO_MS + 900, user_id=7, user_name="Ann", attribute=attribute, start_time=ZERO_MS)
    event = told(frame)
    assert (event.event, event.text, event.user_id, event.user_name) == ("transcript", shown, 7, "Ann")
    assert (event.line_id, event.change) == (str(ZERO_MS), change)


def test_an_interim_result_is_no_line() -> None:
    assert told(media(17, "", ZERO_MS, user_id=7, attribute=1)).event == "frame"


@pytest.mark.parametrize(
    ("fields", "shown", "change"),
    [
        ({}, "hi", ""),
        ({"operation_type": 1}, "hi", ""),
        ({"operation_type": 2}, "(deleted a message) hi", "delete"),
        ({"operation_type": 3}, "(edited) hi", "update"),
        ({"operation_type": 4}, "(reacted) hi", "emoji_add"),
        ({"operation_type": 77}, "(operation 77) hi", "77"),
    ],
)
def test_what_is_done_to_a_chat_message_names_it(fields: dict[str, Any], shown: str, change: str) -> None:
    event = told(media(18, "hi", ZERO_MS, user_id=7, user_name="Ann", message_id="m1", **fields))
    assert (event.event, event.text, event.line_id, event.change) == ("chat", shown, "m1", change)


def test_what_we_send_is_nothing_that_was_said() -> None:
    frame = said({"msg_type": 17, "content": {"data": "x", "user_id": 7}}, way=Direction.OUT)
    assert told(frame).event == "frame"
