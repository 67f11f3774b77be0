"""What a webhook means for the streams that run: start, continue, pass on, ignore (PROTOCOL §2)."""

from collections.abc import Container, Mapping
from enum import StrEnum

from rtms_cli.protocol.webhooks import StreamInterrupted, StreamStart, StreamStop, Webhook
from rtms_cli.session.session import Session


class Verdict(StrEnum):
    """What to do about a webhook."""

    START = "start"
    """A stream that is not being recorded: a new session, a new recording."""
    CONTINUE = "continue"
    """A stream whose last session was interrupted: a new session in the same recording."""
    LATER = "later"
    """The same, but that session's files are not finished yet: judge it again when they are."""
    FEED = "feed"
    """A stream that is being recorded: its session decides (retry, failover, interruption, end)."""
    TOO_MANY = "too many"
    """A new stream, but as many as are allowed run already."""
    IGNORE = "ignore"
    """Nothing that concerns a stream of ours."""


def judge(webhook: Webhook, running: Mapping[str, Session], interrupted: Container[str], max_streams: int) -> Verdict:
    """Say what a webhook means.

    :param running: sessions by `rtms_stream_id`.
    :param interrupted: stream ids whose recording ended without an end of the stream.

    A started webhook for a stream that has just been announced as ended is a new recording, also where it is
    byte-identical to the first: only while the stream is still connected is it a retry (PROTOCOL §9).
    """
    match webhook:
        case StreamStart(stream):
            session = running.get(stream.stream_id)
            if session is not None and not session.has_ended:
                return Verdict.FEED
            if session is not None and session.may_go_on:
                return Verdict.LATER
            if len(running) >= max_streams:
                return Verdict.TOO_MANY
            return Verdict.CONTINUE if session is None and stream.stream_id in interrupted else Verdict.START
        case StreamStop(stream_id=stream_id) | StreamInterrupted(stream_id=stream_id):
            return Verdict.FEED if stream_id in running else Verdict.IGNORE
        case _:
            return Verdict.IGNORE
