"""JSON lines: what a script reads of each frame."""

import io
import json

import pytest
from frames import said, state

from rtms_cli.machine import Direction, Frame, State, frame_of
from rtms_cli.view.lines import JsonLines

DEEP = b'{"msg_type": 99, "deep": ' + b"[" * 62 + b"]" * 62 + b"}"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (said({"msg_type": 12, "timestamp": 5}), {"msg_type": 12, "timestamp": 5}),
        (said({"msg_type": 18, "content": {"data": "hi\n"}}), {"msg_type": 18, "content": {"data": "hi\n"}}),
        (said({"msg_type": 3, "signature": "s3cret"}), {"msg_type": 3, "signature": "[redacted]"}),
        (said({"msg_type": 99, "n": 2**70, "x": 1.5}), {"msg_type": 99, "n": 2**70, "x": 1.5}),
        (said({"msg_type": 17, "content": {"data": "\ud83d"}}), {"msg_type": 17, "content": {"data": "\ufffd"}}),
        (frame_of(0, "media", Direction.IN, DEEP), json.loads(DEEP)),
        (frame_of(0, "media", Direction.IN, b"no JSON"), "no JSON"),
        (frame_of(0, "media", Direction.IN, b"\xff\xfe"), "//4="),
        (state(State.CLOSED, code=1006), {"state": "closed", "code": 1006}),
    ],
)
def test_a_frame_has_its_message_as_it_came(frame: Frame, message: object) -> None:
    out = io.StringIO()
    lines = JsonLines(out)
    lines.on_frame("stream", frame)
    lines.close()
    assert json.loads(out.getvalue())["message"] == message
