"""How a recording ends: what was said of the end, folded in one place, and one rule that judges it.

The session asks it while the stream runs, the ledger when a capture is folded, and so `repair` when the process died
before a last word could be written: the same frames give the same answer (PROTOCOL §7–§9).
"""

from enum import StrEnum

from rtms_cli.protocol.messages import (
    Message,
    SessionStateResponse,
    SessionStateUpdate,
    StreamStateUpdate,
    UserId,
    user_id,
)
from rtms_cli.protocol.numbers import SessionState, StopReason, StreamState
from rtms_cli.protocol.webhooks import Stream, StreamInterrupted, StreamStart, StreamStop, Webhook, is_older

MOST_SESSIONS = 1_000
"""Sessions of one stream that go on at once and are remembered; a stream has one, for a moment two."""


class Status(StrEnum):
    """`status` of a recording (RECORDING, "manifest.json")."""

    RECORDING = "recording"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    """The stream was lost, or stopped for a failure; a later webhook may continue the recording."""
    FAILED = "failed"
    """Nothing was recorded: Zoom refused us, or could not be reached."""
    REVOKED = "revoked"
    """Zoom wants what was recorded deleted (stop reason 8)."""


class Speaker(StrEnum):
    """What announced the end of a stream."""

    ZOOM = "zoom"
    """Zoom, over one of the stream's sockets or by a webhook that was verified."""
    STRANGER = "stranger"
    """A webhook that was not verified: anyone may have sent it."""
    US = "us"
    """Our own session: it was refused, or no connection was made."""
    NOBODY = "nobody"
    """Nobody: the recording was ended from this side, or its process died."""


def judge_ending(
    reason: int | None, said_by: Speaker, *, asked: bool = False, begun: bool = False, is_over: bool = False
) -> Status:
    """Decide how a recording ended.

    :param reason: the stop reason, where one was given.
    :param said_by: where it came from.
    :param asked: whether we asked the server for the end while it could hear us.
    :param begun: whether media came, or would have come: we were ready for it.
    :param is_over: whether the stream was said to be over.
    """
    known = StopReason.member(reason) if reason is not None else None
    if is_over and known == StopReason.STOP_BC_STREAM_REVOKED and said_by is Speaker.ZOOM:
        return Status.REVOKED
    if is_over and isinstance(known, StopReason) and known.is_failure:
        return Status.INTERRUPTED
    if is_over or (asked and begun):
        return Status.COMPLETE
    return Status.INTERRUPTED if begun or said_by is not Speaker.US else Status.FAILED


def how_it_ended(status: str, reason: int | str | None, said_by: str) -> str:
    """How a recording ended, for people: with the documented reason, or with who stopped it or what went wrong.

    For example `complete, reason 6 STOP_BC_MEETING_ENDED: the meeting ended` or `complete, stopped by Ctrl-C`.

    :param reason: the stop reason, or the name of one without a number; `None` if there is none.
    :param said_by: who said so, or why; may come from outside.
    """
    if reason is not None and reason != "":
        return f"{status}, reason {StopReason.explain(reason)}"
    if not said_by:
        return status
    is_asked = status == Status.COMPLETE or said_by in _ASKERS
    return f"{status}, stopped by {said_by}" if is_asked else f"{status}: {said_by}"


_ASKERS = ("Ctrl-C", "SIGTERM", "SIGHUP", "the q key", "the s key", "rtms")
"""The source of the end on this side."""


class Outlook:
    """What has been said of a stream's end so far: a fold over messages and webhooks.

    `8` TERMINATED and a stop webhook are final. `9` STOPPED is the end only where no other session of the stream goes
    on, and a session that starts takes it back, with its reason. Of several reasons the last one counts; but no
    webhook that was not verified replaces what Zoom said, and nothing that is said of the same end replaces reason 8.

    :param trusted: whether webhooks were verified; only a verified one may have a recording deleted.
    """

    def __init__(self, *, trusted: bool = False) -> None:
        self._trusted = trusted
        self._stream: Stream | None = None
        self._going_on: dict[UserId, None] = {}
        """Sessions that were named and have not stopped, in the order in which they were named."""
        self.session_state: int | None = None
        """The state of the session that was spoken of last."""
        self.is_over = False
        """Whether the stream was said to be over, as far as is known now."""
        self.is_final = False
        """Whether nothing but a new announcement can take that back."""
        self.reason: int | None = None
        self.unknown_reason = ""
        """The reason's name, where it has no number."""
        self.said_by = Speaker.NOBODY
        self.how = ""
        """What said so and how, in words: `9 SESSION_STATE_UPDATE on signaling`."""

    def judge(self, *, gave_up: bool = False, asked: bool = False, begun: bool = False) -> Status:
        """How a recording that ends now ended; see `judge_ending`.

        :param gave_up: whether it ends because our session was refused, or found no connection.
        """
        said_by = Speaker.US if gave_up and not self.is_over else self.said_by
        return judge_ending(self.reason, said_by, asked=asked, begun=begun, is_over=self.is_over)

    def take(self, message: Message | Webhook, channel: str, *, is_connected: bool = True) -> bool:
        """Take note of what came in on a channel.

        :param is_connected: whether there is a signaling connection: only then an identical announcement is a retry.
        :returns: whether it said anything about the end.
        """
        match message:
            case StreamStateUpdate(state=StreamState.TERMINATED, reason=reason):
                self._end(f"8 STREAM_STATE_UPDATE on {channel}", Speaker.ZOOM, reason, is_final=True)
            case StreamStop() if self.is_past(message):
                return False
            case StreamStop(reason=reason):
                speaker = Speaker.ZOOM if self._trusted else Speaker.STRANGER
                self._end("a stop webhook", speaker, reason, is_final=True)
            case SessionStateUpdate(session_id=session_id, state=state, stop_reason=reason):
                self._on_session(session_id, state, reason, f"9 SESSION_STATE_UPDATE on {channel}")
            case SessionStateResponse(session_id=session_id, state=state):
                self._note(session_id, state)
                return False
            case StreamStart(stream=stream):
                former = self._stream
                is_retry = former is not None and stream.is_retry_of(former) and is_connected
                if former is None or not (is_retry or stream.is_older_than(former)):
                    self.announce(stream)
                return False
            case _:
                return False
        return True

    def is_past(self, webhook: StreamStop | StreamInterrupted) -> bool:
        """Whether a webhook is older than the start that the stream runs by: retries come up to an hour late."""
        return self._stream is not None and is_older(webhook.event_ts, self._stream.event_ts)

    def announce(self, stream: Stream | None = None) -> None:
        """The stream was announced (again): whatever was said of an end before is past."""
        self._stream = self._stream if stream is None else stream.after(self._stream)
        self._going_on.clear()
        self.session_state = None
        self._take_back()
        self.is_final = False

    def _on_session(self, session_id: str | None, state: int | None, reason: int | str | None, how: str) -> None:
        self._note(session_id, state)
        if not self._going_on:
            self._end(how, Speaker.ZOOM, reason, is_final=False)
        elif not self.is_final:
            self._take_back()

    def _note(self, name: str | None, state: int | None) -> None:
        session_id = user_id(name)  # cut, where it is very long
        self.session_state = state
        self._going_on.pop(session_id, None)
        if state != SessionState.STOPPED:
            if len(self._going_on) >= MOST_SESSIONS:
                del self._going_on[next(iter(self._going_on))]
            self._going_on[session_id] = None

    def _end(self, how: str, speaker: Speaker, reason: int | str | None, *, is_final: bool) -> None:
        if speaker is Speaker.STRANGER and reason == StopReason.STOP_BC_STREAM_REVOKED:
            reason = None  # anyone may have sent it: nothing is deleted for it
        if not self.is_over or (reason is not None and self._gives_way(speaker)):
            self.reason = reason if isinstance(reason, int) else None
            self.unknown_reason = reason if isinstance(reason, str) else ""
            self.said_by = speaker
        if not self.is_over or is_final:
            self.how = f"{how} ({reason})" if isinstance(reason, str) else how
        self.is_over = True
        self.is_final = self.is_final or is_final

    def _gives_way(self, speaker: Speaker) -> bool:
        """Whether what was said of the reason makes room: not Zoom's word for a stranger's, and reason 8 never."""
        if self.said_by is not Speaker.ZOOM:
            return True
        if speaker is not Speaker.ZOOM:
            return self.reason is None and not self.is_final
        return self.reason != StopReason.STOP_BC_STREAM_REVOKED

    def _take_back(self) -> None:
        self.is_over, self.reason, self.said_by = False, None, Speaker.NOBODY
        self.how = self.unknown_reason = ""
