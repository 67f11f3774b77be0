"""What a webhook means for the streams that run."""

import json

import pytest
from script import CONNECTED, FAILOVER, INTERRUPTED, STARTED, play, session, stopped

from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.session.session import Session
from rtms_cli.session.streams import Verdict, judge


def connected(*, ended: bool = False, reason: int = 6) -> Session:
    machine = session()
    play(machine, CONNECTED)
    if ended:
        play(machine, f'5 signaling {{"msg_type": 8, "state": 4, "reason": {reason}}}')
    return machine


def other(line: str) -> str:
    return line.replace("stream1", "stream2")


@pytest.mark.parametrize(
    ("line", "running", "interrupted", "verdict"),
    [
        (STARTED, {}, (), Verdict.START),
        (STARTED, {"stream1": connected()}, (), Verdict.FEED),
        (FAILOVER, {"stream1": connected()}, (), Verdict.FEED),
        (STARTED, {"stream1": connected(ended=True)}, (), Verdict.START),
        (STARTED, {"stream1": connected(ended=True, reason=13)}, (), Verdict.LATER),
        (other(STARTED), {"stream1": connected()}, (), Verdict.START),
        (STARTED, {}, ("stream1",), Verdict.CONTINUE),
        (other(STARTED), {"stream1": connected(), "stream3": connected()}, (), Verdict.TOO_MANY),
        (stopped(6), {"stream1": connected()}, (), Verdict.FEED),
        (stopped(6), {}, (), Verdict.IGNORE),
        (INTERRUPTED, {"stream1": connected()}, (), Verdict.FEED),
        (INTERRUPTED, {"stream2": connected()}, (), Verdict.IGNORE),
        ('webhook {"event": "rtms.concurrency_limited", "payload": {}}', {}, (), Verdict.IGNORE),
        ('webhook {"event": "endpoint.url_validation", "payload": {"plainToken": "a"}}', {}, (), Verdict.IGNORE),
        ("webhook []", {}, (), Verdict.IGNORE),
    ],
)
def test_judgement(line: str, running: dict[str, Session], interrupted: tuple[str, ...], verdict: Verdict) -> None:
    webhook = read_webhook(json.dumps(json.loads(line.removeprefix("webhook "))).encode())
    assert judge(webhook, running, interrupted, max_streams=2) is verdict
