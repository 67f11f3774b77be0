"""How a recording ends: the rule, and the fold of what is said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.endings import MOST_SESSIONS, Outlook, Speaker, Status, judge_ending
from rtms_cli.protocol.messages import read
from rtms_cli.protocol.webhooks import read_webhook

FAILURES = (*range(10, 20), 24)


@pytest.mark.parametrize(
    ("reason", "said_by", "asked", "begun", "is_over", "status"),
    [
        (8, Speaker.ZOOM, False, True, True, Status.REVOKED),
        (8, Speaker.ZOOM, True, False, True, Status.REVOKED),
        (8, Speaker.STRANGER, False, True, True, Status.COMPLETE),
        (8, Speaker.ZOOM, False, True, False, Status.INTERRUPTED),
        *((reason, Speaker.ZOOM, False, True, True, Status.INTERRUPTED) for reason in FAILURES),
        (13, Speaker.ZOOM, True, True, True, Status.INTERRUPTED),
        (6, Speaker.ZOOM, False, True, True, Status.COMPLETE),
        (None, Speaker.ZOOM, False, False, True, Status.COMPLETE),
        (999, Speaker.ZOOM, False, True, True, Status.COMPLETE),
        (None, Speaker.NOBODY, True, True, False, Status.COMPLETE),
        (None, Speaker.NOBODY, False, True, False, Status.INTERRUPTED),
        (None, Speaker.NOBODY, False, False, False, Status.INTERRUPTED),
        (None, Speaker.US, False, True, False, Status.INTERRUPTED),
        (None, Speaker.US, False, False, False, Status.FAILED),
    ],
)
def test_the_rule(
    reason: int | None, said_by: Speaker, asked: bool, begun: bool, is_over: bool, status: Status
) -> None:
    assert judge_ending(reason, said_by, asked=asked, begun=begun, is_over=is_over) is status


@given(st.integers(0, 40) | st.none(), st.sampled_from(Speaker), st.booleans(), st.booleans(), st.booleans())
def test_only_zoom_can_have_a_recording_deleted(
    reason: int | None, said_by: Speaker, asked: bool, begun: bool, is_over: bool
) -> None:
    status = judge_ending(reason, said_by, asked=asked, begun=begun, is_over=is_over)
    assert (status is Status.REVOKED) == (reason == 8 and said_by is Speaker.ZOOM and is_over)
    assert status is not Status.RECORDING


def hear(outlook: Outlook, *bodies: dict[str, object]) -> Outlook:
    for body in bodies:
        raw = json.dumps(body).encode()
        outlook.take(read_webhook(raw) if "event" in body else read(raw), "signaling")
    return outlook


def session(number: str, state: int, reason: int | None = None) -> dict[str, object]:
    return {"msg_type": 9, "rtms_session_id": number, "state": state, "stop_reason": reason}


def webhook(what: str, event_ts: int = 1, **payload: object) -> dict[str, object]:
    payload = {"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": "wss://a.zoom.us"} | payload
    return {"event": f"meeting.rtms_{what}", "event_ts": event_ts, "payload": payload}


def test_a_session_that_starts_takes_the_end_back_with_its_reason() -> None:
    outlook = hear(Outlook(), session("a", 2), session("a", 5, 8))
    assert (outlook.is_over, outlook.reason, outlook.judge(begun=True)) == (True, 8, Status.REVOKED)
    hear(outlook, session("b", 2))
    assert (outlook.is_over, outlook.reason, outlook.judge(begun=True)) == (False, None, Status.INTERRUPTED)
    hear(outlook, session("b", 5))
    assert (outlook.is_over, outlook.reason, outlook.judge(begun=True)) == (True, None, Status.COMPLETE)


def test_one_of_two_sessions_that_stops_ends_nothing() -> None:
    outlook = hear(Outlook(), session("a", 2), session("b", 2), session("a", 5, 8))
    assert not outlook.is_over
    assert outlook.session_state == 5


def test_sessions_without_number_are_remembered_with_a_bound_and_cost_the_same() -> None:
    outlook = hear(Outlook(), *(session(str(number), 2) for number in range(2 * MOST_SESSIONS)))
    last = str(2 * MOST_SESSIONS - 1)
    hear(outlook, *(session(str(number), 5) for number in range(2 * MOST_SESSIONS) if str(number) != last))
    assert not outlook.is_over
    assert hear(outlook, session(last, 5)).is_over


def test_the_last_reason_that_was_given_counts_and_none_takes_none_away() -> None:
    outlook = hear(
        Outlook(), session("a", 5, 6), {"msg_type": 8, "state": 4, "reason": 13}, {"msg_type": 8, "state": 4}
    )
    assert (outlook.reason, outlook.is_final) == (13, True)
    assert outlook.how == "8 STREAM_STATE_UPDATE on signaling"


def test_terminated_is_final_whatever_a_session_says_then() -> None:
    outlook = hear(Outlook(), {"msg_type": 8, "state": 4, "reason": 8}, session("b", 2))
    assert outlook.judge(begun=True) is Status.REVOKED


def test_an_unverified_webhook_ends_the_stream_but_revokes_nothing() -> None:
    stop = webhook("stopped", stop_reason=8)
    assert hear(Outlook(), stop).judge(begun=True) is Status.COMPLETE
    assert hear(Outlook(trusted=True), stop).judge(begun=True) is Status.REVOKED
    zoom_said = hear(Outlook(), {"msg_type": 8, "state": 4, "reason": 8}, stop)
    assert zoom_said.judge(begun=True) is Status.REVOKED
    assert hear(Outlook(), stop, {"msg_type": 8, "state": 4, "reason": 8}).judge(begun=True) is Status.REVOKED


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "later", [session("a", 5, 6), {"msg_type": 8, "state": 4, "reason": 13}, webhook("stopped", stop_reason=6)]
)
def test_what_was_revoked_stays_so_whatever_else_is_said_of_that_end(later: dict[str, object], trusted: bool) -> None:
    terminated: dict[str, object] = {"msg_type": 8, "state": 4, "reason": 8}
    for first in (session("a", 5, 8), terminated):
        assert hear(Outlook(trusted=trusted), first, later).judge(begun=True) is Status.REVOKED
        assert hear(Outlook(trusted=trusted), later, first).judge(begun=True) is Status.REVOKED


def test_an_unverified_webhook_gives_a_reason_only_where_zoom_gave_none() -> None:
    over: dict[str, object] = {"msg_type": 8, "state": 4, "reason": 6}
    failed = webhook("stopped", stop_reason=13)
    assert hear(Outlook(), over, failed).judge(begun=True) is Status.COMPLETE
    assert hear(Outlook(), failed, over).judge(begun=True) is Status.COMPLETE
    assert hear(Outlook(trusted=True), over, failed).judge(begun=True) is Status.INTERRUPTED
    assert hear(Outlook(), {"msg_type": 8, "state": 4}, failed).judge(begun=True) is Status.COMPLETE
    assert hear(Outlook(), session("a", 5), failed).judge(begun=True) is Status.INTERRUPTED


def test_a_new_announcement_takes_everything_back_and_a_retry_nothing() -> None:
    first = webhook("started")
    retried = hear(Outlook(), first, session("a", 5, 6), first)
    assert retried.judge(begun=True) is Status.COMPLETE
    announced = hear(Outlook(), first, session("a", 5, 6), webhook("started", 2))
    assert announced.judge(begun=True) is Status.INTERRUPTED
