"""Which streams of one meeting are taken, whatever comes in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import Signature
from rtms_cli.protocol.webhooks import Stream, StreamStart
from rtms_cli.session.session import Session
from rtms_cli.session.streams import Verdict
from rtms_cli.station.choosing import Only
from rtms_cli.station.intake import Intake
from rtms_cli.station.run import Run
from rtms_cli.wire.clock import Clock

HOST = Stream(Product.MEETING, "m", "host's", "wss://x", is_original_host=True, operator_id="ann")
GUEST = Stream(Product.MEETING, "m", "guest's", "wss://x", is_original_host=False, operator_id="bob")
SILENT = Stream(Product.MEETING, "m", "somebody's", "wss://x")
ELSEWHERE = structs.replace(HOST, id="another", stream_id="another's")


@pytest.mark.parametrize(
    ("only", "stream", "others", "why"),
    [
        (Only.ALL, GUEST, [HOST, SILENT], None),
        (Only.FIRST, GUEST, [ELSEWHERE], None),
        (Only.FIRST, GUEST, [HOST], "--only first: stream host's of operator ann came before"),
        (Only.FIRST, HOST, [SILENT], "--only first: stream somebody's of unknown operator came before"),
        (Only.FIRST, structs.replace(HOST, product=Product.WEBINAR), [GUEST], None),
        (Only.HOST, HOST, [GUEST, SILENT], None),
        (Only.HOST, GUEST, [], "--only host: its operator bob is not the host"),
        (Only.HOST, structs.replace(GUEST, operator_id=None), [], "--only host: its unknown operator is not the host"),
        (Only.HOST, SILENT, [GUEST, ELSEWHERE], None),
        (
            Only.HOST, SILENT, [HOST],
            "--only host: it does not say whose it is (unknown operator), and "
            "stream host's of operator ann is the host's",
        ),
    ],
)  # fmt: skip
def test_who_is_taken(only: Only, stream: Stream, others: list[Stream], why: str | None) -> None:
    assert only.refusal(stream, others) == why


streams = st.builds(
    Stream,
    st.sampled_from([Product.MEETING, Product.WEBINAR]),
    st.sampled_from(["m", "n"]),
    st.text(min_size=1, max_size=3),
    st.just("wss://x"),
    is_original_host=st.none() | st.booleans(),
    operator_id=st.none() | st.text(min_size=1),
)


def taken(only: Only, came: list[Stream]) -> list[Stream]:
    """Those that are taken of streams that come one after the other and never end."""
    found: list[Stream] = []
    for stream in came:
        if only.refusal(stream, found) is None:
            found.append(stream)
    return found


unique = st.lists(streams, unique_by=lambda stream: stream.stream_id)


@given(unique)
def test_each_meeting_has_something_recorded_unless_its_host_is_missing(came: list[Stream]) -> None:
    meetings = {(one.product, one.id) for one in came}
    assert taken(Only.ALL, came) == came
    first = taken(Only.FIRST, came)
    assert {(one.product, one.id) for one in first} == meetings
    assert len(first) == len(meetings)
    hosts = taken(Only.HOST, came)
    assert [one for one in came if one.is_original_host] == [one for one in hosts if one.is_original_host]
    assert all(one.is_original_host is not False for one in hosts)
    maybe = {(one.product, one.id) for one in came if one.is_original_host is not False}
    assert {(one.product, one.id) for one in hosts} == maybe


@given(st.sampled_from(Only), streams, st.none() | st.booleans(), unique)
def test_what_was_taken_goes_on_whatever_it_says_later(
    only: Only, stream: Stream, says: bool | None, others: list[Stream]
) -> None:
    again = structs.replace(stream, is_original_host=says, server_url="wss://y")
    assert only.refusal(again, [*others, stream]) is None


class Hands(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at_us = 0

    def now_us(self) -> int:
        return self.at_us


def test_an_interrupted_stream_keeps_others_out_for_as_long_as_it_may_go_on() -> None:
    """Not for good: a first one that never comes back must not cost the meeting its recording."""
    intake = Intake(trusted=True, max_streams=10, check_url=lambda url: None, choose=Only.FIRST.refusal)
    clock = Hands()
    run = Run(GUEST, Session(GUEST, Signature("0" * 64), MediaRequest()), clock)
    run.interrupted_us = 0
    intake.interrupted[GUEST.stream_id] = run
    clock.at_us = 119_000_000
    other = intake.decide(StreamStart(HOST), "http", is_stopping=False)
    assert other.why == "--only first: stream guest's of operator bob came before"
    clock.at_us = 121_000_000
    other = intake.decide(StreamStart(HOST), "http", is_stopping=False)
    assert (other.verdict, other.why) == (Verdict.START, None)
    intake.runs[HOST.stream_id] = Run(HOST, Session(HOST, Signature("0" * 64), MediaRequest()), clock)
    same = intake.decide(StreamStart(GUEST), "http", is_stopping=False)
    assert (same.verdict, same.why) == (Verdict.CONTINUE, None)
