"""What to do about what happens, as data: the rows of PROTOCOL §9, its limits, and what a refusal means (§8).

The session looks things up here and acts; docs/protocol.md has the same table, and a test compares the two.
"""

import zlib
from enum import StrEnum

from msgspec import Struct

from rtms_cli.protocol.media import NO_SCOPE
from rtms_cli.protocol.messages import EventUpdate, Message, SessionStateUpdate, StreamStateUpdate
from rtms_cli.protocol.numbers import (
    CHAT_GROUP_EVENTS,
    IVR_EVENTS,
    ContactCenterEvent,
    MediaType,
    MeetingEvent,
    Product,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.protocol.webhooks import StreamInterrupted, StreamStart, StreamStop, Webhook

US = 1_000_000
"""Microseconds of a second: the clock of every machine counts in them."""

SIGNALING_DEADLINE_S = 60
"""How long the server waits for a lost signaling connection, and how long a webhook's URLs are valid (PROTOCOL §9)."""

MEDIA_DEADLINE_S = 65
"""How long the server waits for a lost media connection (PROTOCOL §9)."""

SILENCE_S = 65
"""A connection with neither keep-alive nor data for this long is dead, whatever TCP says (PROTOCOL §9)."""

HANDSHAKE_S = 15
"""How long an answer to a handshake may take."""

BACK_OFF_S = (3, 30)
"""First and longest wait between two tries (PROTOCOL §9)."""

LATE_SIGNAL_S = 30
"""How long after a loss was repaired a sign of a loss is taken to mean that one."""

DOUBT_S = 5
"""How long a connection may be silent after such a sign. One that only had nothing to say is rebuilt in vain: that
costs little, and a dead one a lot."""

UNDER_WAY_S = 2
"""What comes so soon after such a sign may have been under way already, and proves nothing."""

QUIET_S = 2
"""How long a media socket must be silent to be the one that an `8` or an event 7 means, where it names no event."""

LINGER_S = 1
"""How long media that is still under way may take to arrive after the end was announced."""

CLOSE_ANSWER_S = 2
"""How long we wait for `22` when we asked for the end."""

DUPLICATE_TRIES = 3
"""How often a `1` is sent that is refused as a duplicate: a former client may not be released yet (PROTOCOL §8)."""

DUPLICATE_S = 1.5
"""How long the first of these refusals is waited for; twice as long each time."""

SUBSCRIBED_S = 1
"""A signaling socket that the server closes so soon after a `5` is closed for that."""

UNKNOWN_TRIES = 3
"""How often, in a row, a `3` that the server does not know at this point makes us rebuild signaling."""

SIGNATURE_TRIES = 3
"""Closes with 1000 right after `1` before we believe that the signature is wrong."""


class Rebuild(StrEnum):
    """What must be connected again, in the words of PROTOCOL §9."""

    BOTH_ANEW = "both, at the new URLs"
    BOTH = "both"
    MEDIA = "that media socket only"
    NOTHING_YET = "nothing: the recording was interrupted; a new started webhook may continue it"
    NOTHING = "nothing: finish the recording"


_SIGNALING_REASONS = (
    StopReason.STOP_BC_SIGNAL_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_SIGNAL_CONNECTION_CLOSED_ABNORMALLY,
)
_MEDIA_REASONS = (
    StopReason.STOP_BC_DATA_CONNECTION_INTERRUPTED,
    StopReason.STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY,
)


def _state_2(reasons: tuple[StopReason, ...]) -> str:
    return f"`8` state {StreamState.INTERRUPTED:d} with reason {' or '.join(str(int(each)) for each in reasons)}"


class Sign(StrEnum):
    """How a failure shows, in the words of PROTOCOL §9."""

    NEW_START = "a new `…rtms_started` webhook, same stream id, other `event_ts` or `server_urls`"
    INTERRUPTED_WEBHOOK = "a `…rtms_interrupted` webhook"
    SIGNALING_CLOSED = "the signaling socket closes"
    SIGNALING_STATE = _state_2(_SIGNALING_REASONS)
    EVENT_7 = f"event {MeetingEvent.MEDIA_CONNECTION_INTERRUPTED:d}"
    MEDIA_STATE = _state_2(_MEDIA_REASONS)
    MEDIA_CLOSED = "the media socket closes"
    STOP_WEBHOOK = "a `…rtms_stopped` webhook"
    TERMINATED = f"`8` state {StreamState.TERMINATED:d}"
    STOPPED = f"`9` state {SessionState.STOPPED:d}"


class Failure(Struct, frozen=True):
    """One row of PROTOCOL §9."""

    what: str
    signs: tuple[Sign, ...]
    rebuild: Rebuild


_ENDS = (Sign.STOP_WEBHOOK, Sign.TERMINATED, Sign.STOPPED)

FAILURES = (
    Failure("RTMS server died", (Sign.NEW_START,), Rebuild.BOTH_ANEW),
    Failure("signaling lost", (Sign.INTERRUPTED_WEBHOOK, Sign.SIGNALING_CLOSED, Sign.SIGNALING_STATE), Rebuild.BOTH),
    Failure("media lost", (Sign.EVENT_7, Sign.MEDIA_STATE, Sign.MEDIA_CLOSED), Rebuild.MEDIA),
    Failure("stopped by a failure (reason 10–19 or 24)", _ENDS, Rebuild.NOTHING_YET),
    Failure("any other stop", _ENDS, Rebuild.NOTHING),
)
"""The table of PROTOCOL §9, row for row."""

_STATES: dict[int, Sign] = {
    **dict.fromkeys(map(int, _SIGNALING_REASONS), Sign.SIGNALING_STATE),
    **dict.fromkeys(map(int, _MEDIA_REASONS), Sign.MEDIA_STATE),
}
_REBUILD = {sign: failure.rebuild for failure in FAILURES for sign in failure.signs}


def sign_of(message: Message | Webhook) -> Sign | None:
    """What a message or a webhook is a sign of; `None` if it is a sign of nothing."""
    match message:
        case StreamStart():
            return Sign.NEW_START
        case StreamInterrupted():
            return Sign.INTERRUPTED_WEBHOOK
        case StreamStop():
            return Sign.STOP_WEBHOOK
        case EventUpdate(event_type=MeetingEvent.MEDIA_CONNECTION_INTERRUPTED):
            return Sign.EVENT_7
        case StreamStateUpdate(state=StreamState.TERMINATED):
            return Sign.TERMINATED
        case StreamStateUpdate(state=StreamState.INTERRUPTED, reason=int() as reason):
            return _STATES.get(reason)
        case SessionStateUpdate(state=SessionState.STOPPED):
            return Sign.STOPPED
        case _:
            return None


def rebuild_after(sign: Sign, reason: int | None = None) -> Rebuild:
    """What has to be rebuilt after a sign; of a stop the reason decides."""
    if sign in _ENDS:
        known = StopReason.member(reason) if reason is not None else None
        failed = isinstance(known, StopReason) and known.is_failure
        return Rebuild.NOTHING_YET if failed else Rebuild.NOTHING
    return _REBUILD[sign]


RETRYABLE = frozenset(
    (
        StatusCode.STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST,
        StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION,
        StatusCode.STATUS_INTERNAL_EXCEPTION,
    )
)
"""Refusals of `3` that pass: the server has not yet noticed that our old connection is gone, or stumbled."""

RETRYABLE_SIGNALING = frozenset((StatusCode.STATUS_INTERNAL_EXCEPTION,))
"""Refusals of `1` that pass; 15 and 16 mean a wrong signature and a wrong id there (PROTOCOL §8)."""

EVENTS_REFUSED = frozenset(
    (
        StatusCode.STATUS_INVALID_EVENTS,
        StatusCode.STATUS_INVALID_EVENT_TYPE,
        StatusCode.STATUS_INVALID_EVENT_SUBSCRIBE,
    )
)
"""What a server says of a `5` with an event that it does not have (PROTOCOL §6)."""

FORMER_MEANINGS: dict[int | None, str] = {
    StatusCode.STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST: "a wrong signature",
    StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION: "a wrong id",
}
"""What some servers mean by these statuses on signaling."""

FAULTY_KIND: dict[int, MediaType] = {status: kind for kind, status in NO_SCOPE.items()} | {
    status: kind
    for kind, numbers in (
        (MediaType.AUDIO, (*range(18, 25),)),
        (MediaType.VIDEO, (*range(25, 31),)),
        (MediaType.SHARE, (*range(31, 36),)),
        (MediaType.TRANSCRIPT, (36, 37, 43, 46)),
        (MediaType.CHAT, (38, 39, 47)),
    )
    for status in numbers
}
"""Refusals that concern one kind of media: the others are asked for without it."""

NO_SUCH_TYPE = frozenset((StatusCode.STATUS_INVALID_MEDIA_TYPE, StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE))
"""Refusals of `3` by a server whose unified socket takes no sum of bits: there are other ways to ask (PROTOCOL §4)."""

EARLY_S = 1
"""A stream that is stopped so soon after it began is not stopped for what was recorded."""

TWO_VERSIONS = (
    f"stopped for {StopReason.label(StopReason.STOP_BC_AUTHENTICATION_FAILURE)} right after the start: is there a "
    "development and a production version of this app in one account? Remove one of them, or sign with its credentials."
)
"""What that stop reason means there (PROTOCOL §8)."""

_HINTS: dict[int | None, str] = {
    None: "The server sent no status_code, which is not the same as 0.",
    StatusCode.STATUS_INVALID_RTMS_STREAM_ID: "The stream has ended, or the payload is older than 60 s.",
    StatusCode.STATUS_INVALID_SIGNATURE: "`rtms sign PAYLOAD --verify HEX` finds the usual mistakes.",
    StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST: "Another client is connected to this stream; only one may be.",
}
SIGNATURE_HINT = _HINTS[StatusCode.STATUS_INVALID_SIGNATURE]


def explain_refusal(status: int | None, reason: str) -> str:
    """What a refusal says, with the documented name beside the number, and what to do about it."""
    said = f" — the server says: {reason}" if reason else ""
    hint = _HINTS.get(status)
    name = f"status_code {StatusCode.explain(status)}" if status is not None else "no status_code"
    return f"{name}{said}." + (f" {hint}" if hint else "")


_OF_ALL = (
    MeetingEvent.ACTIVE_SPEAKER_CHANGE,
    MeetingEvent.PARTICIPANT_JOIN,
    MeetingEvent.PARTICIPANT_LEAVE,
)
"""FIRST_PACKET_TIMESTAMP and MEDIA_CONNECTION_INTERRUPTED come by themselves (PROTOCOL §4)."""
_OF_MEETINGS = (
    MeetingEvent.SHARING_START,
    MeetingEvent.SHARING_STOP,
    MeetingEvent.PARTICIPANT_VIDEO_ON,
    MeetingEvent.PARTICIPANT_VIDEO_OFF,
)


def first_events(product: Product) -> tuple[int, ...]:
    """The events that there were from the beginning, so that every server has them."""
    return (*_OF_ALL, *(ContactCenterEvent if product is Product.CONTACT_CENTER else _OF_MEETINGS))


def events_to_subscribe(product: Product) -> tuple[int, ...]:
    """The event types that a session of a product asks for (PROTOCOL §6)."""
    newest = dict.fromkeys((Product.MEETING, Product.WEBINAR), CHAT_GROUP_EVENTS) | {Product.CONTACT_CENTER: IVR_EVENTS}
    return tuple(map(int, (*first_events(product), *newest.get(product, ()))))


def back_off_s(tries: int, stream_id: str) -> float:
    """Seconds to wait after this many failed tries: 3, 6, 12, 24, 30, 30, … and up to a quarter more.

    The jitter comes from the stream's id, not from chance: many streams lost at once come back spread out, and a
    replay waits as long as the live session did.
    """
    first, longest = BACK_OFF_S
    jitter = zlib.crc32(f"{stream_id} {tries}".encode()) % 1000 / 4000
    return min(longest, first * (1 << min(tries, 10)) * (1 + jitter))
