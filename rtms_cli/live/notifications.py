"""Events for other programs, as webhooks by the Standard Webhooks specification: their receivers and contents.

See docs/notifications.md, and https://github.com/standard-webhooks/standard-webhooks for headers and signatures.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from rtms_cli import __version__
from rtms_cli.errors import Problem
from rtms_cli.machine import Finish
from rtms_cli.protocol.numbers import ContactCenterEvent, MeetingEvent, StopReason
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.protocol.times import iso_time, seconds_in
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.wire.hosts import is_loopback

STARTED, INTERRUPTED, FINISHED, FAILED = "stream.started", "stream.interrupted", "stream.finished", "stream.failed"
JOINED, LEFT, SPEAKER = "participant.joined", "participant.left", "speaker.changed"
TRANSCRIPT, CHAT = "transcript", "chat"
EVENTS = (STARTED, INTERRUPTED, FINISHED, FAILED, JOINED, LEFT, SPEAKER, TRANSCRIPT, CHAT)

SECRET_VARIABLE = "RTMS_NOTIFY_SECRET"  # noqa: S105
MAKE_A_SECRET = 'echo "RTMS_NOTIFY_SECRET=whsec_$(openssl rand -base64 32)" >> .env'  # noqa: S105
_SECRET_NBYTES = range(24, 65)
"""The specification's limits for a secret."""
LONGEST_BATCH_S = 60.0
MOST_LISTED = 1000
"""How many tracks, participants, warnings and losses an event lists."""

_BY_NAME = {
    MeetingEvent.PARTICIPANT_JOIN.name: JOINED,
    ContactCenterEvent.CONSUMER_ANSWERED.name: JOINED,
    ContactCenterEvent.USER_ANSWERED.name: JOINED,
    MeetingEvent.PARTICIPANT_LEAVE.name: LEFT,
    ContactCenterEvent.CONSUMER_END.name: LEFT,
    ContactCenterEvent.USER_END.name: LEFT,
    ContactCenterEvent.CONFERENCE_PARTICIPANT_LEFT.name: LEFT,
    MeetingEvent.ACTIVE_SPEAKER_CHANGE.name: SPEAKER,
}
"""The type of each event of events.jsonl. Others are not forwarded."""


# Receivers.


class Endpoint(Struct, frozen=True):
    """One receiver."""

    url: str
    events: frozenset[str] = frozenset(EVENTS)
    batch_s: float = 0.0
    """How long transcript lines are batched; 0 sends each line separately."""

    @property
    def key(self) -> str:
        """Its key in the outbox, which does not store the URL, because its user and query may be secrets."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:24]

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def is_open(self) -> bool:
        """Whether others on the network can read what is sent to it."""
        return not self.is_local and urlsplit(self.url).scheme == "http"

    @property
    def label(self) -> str:
        """Its name for people: the URL without user, query and most of its path, which may be secrets."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        first, *more = parts.path.lstrip("/").split("/")
        shown = first if len(first) <= 20 else "…"
        return f"{parts.scheme}://{host}/{shown}{'/…' if more and shown != '…' else ''}"


def parse_endpoint(text: str) -> Endpoint:
    """Read `URL[,events=a,b][,batch=2s]`.

    :raises Problem: if it is invalid. The message never shows the URL, which may contain a secret.
    """
    url, *rest = _split(text)
    options = {}
    for part in rest:
        name, _, value = part.partition("=")
        if name in options:
            raise Problem(f"--notify: {name}= is given twice.", "Use it once.")
        options[name] = value
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\0- \x7f]", url):
        raise Problem("--notify needs an http:// or https:// URL.", "Give the whole URL, with its path.")
    events, batch_s = _events_in(options.get("events")), _batch_s(options.get("batch"))
    if batch_s and TRANSCRIPT not in events:
        raise Problem("--notify: batch= applies to transcripts, but events= excludes them.", "Leave out one of them.")
    return Endpoint(url.partition("#")[0], events, batch_s)


def shown_endpoint(text: str) -> str:
    """Return `URL[,events=a,b][,batch=2s]` without its secrets."""
    try:
        endpoint = parse_endpoint(text)
    except Problem:
        return "(no receiver)"
    return endpoint.label + text[len(_split(text)[0]) :]


def _split(text: str) -> list[str]:
    return re.split(r",(?=(?:events|batch)=)", text)


def _events_in(text: str | None) -> frozenset[str]:
    """Return events by name or by a part of a name, such as `stream` or `finished`."""
    if text is None:
        return frozenset(EVENTS)
    found: set[str] = set()
    for name in filter(None, (part.strip() for part in text.split(","))):
        meant = [event for event in EVENTS if name == event or name in event.split(".")]
        if not meant:
            raise Problem(f"--notify: there is no event {name[:40]!r}.", f"Use {', '.join(EVENTS)}.")
        found.update(meant)
    if not found:
        raise Problem("--notify: events= is empty.", f"Use {', '.join(EVENTS)}.")
    return frozenset(found)


def _batch_s(text: str | None) -> float:
    if text is None:
        return 0.0
    seconds = seconds_in(text)
    if seconds is None or seconds > LONGEST_BATCH_S:
        raise Problem(
            f"--notify: batch={text[:20]} is not a valid time.",
            f"Use for example 2s; the maximum is {LONGEST_BATCH_S:g}s.",
        )
    return seconds


def endpoints_of(given: Sequence[str], secrets: Sequence[bytes]) -> list[Endpoint]:
    """Return the receivers that `--notify` names.

    :param secrets: see `read_secrets`.
    :raises Problem: if one is invalid, is named twice, or would receive unsigned events.
    """
    endpoints = [parse_endpoint(text) for text in given]
    if len({endpoint.url for endpoint in endpoints}) < len(endpoints):
        raise Problem("--notify: a URL is given twice.", "Name its events in one: --notify URL,events=…")
    for endpoint in endpoints:
        if not secrets and not endpoint.is_local:
            raise Problem(f"--notify {endpoint.label}: {SECRET_VARIABLE} is not set.", f"Make one: {MAKE_A_SECRET}")
    return endpoints


# Signatures.


def read_secrets(text: str) -> list[bytes]:
    """Return the secrets to sign with: one, or several during a rotation.

    :param text: `whsec_` followed by base64, separated by spaces.
    :raises Problem: if one is invalid. The message never shows a secret.
    """
    secrets = []
    for word in text.split():
        try:
            secret = base64.b64decode(word.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) not in _SECRET_NBYTES:
            raise Problem(
                f"{SECRET_VARIABLE} is not whsec_ followed by base64 of 24 to 64 bytes.",
                f"Make one: {MAKE_A_SECRET}",
            )
        secrets.append(secret)
    return secrets


def signed_headers(message_id: str, attempted_at: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """Return a request's headers.

    :param attempted_at: Unix time of the attempt, in seconds.
    :param secrets: one signature is created with each. Without secrets, the request is unsigned.
    """
    headers = {
        "content-type": "application/json",
        "user-agent": f"rtms-cli/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(attempted_at),
    }
    signed = b"%b.%d.%b" % (message_id.encode(), attempted_at, body)
    digests = [hmac.digest(secret, signed, "sha256") for secret in secrets]
    if digests:
        headers["webhook-signature"] = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return headers


# Event bodies.


class Subject(Struct, frozen=True):
    """The stream that an event is about. Every event's `data` begins with this."""

    product: str
    id: str
    """Id of the meeting, session, webinar, engagement or call."""
    stream_id: str
    folder: str | None
    """The recording's folder, or `None` if it is not recorded."""


def subject_of(stream: Stream, folder: Path | None) -> Subject:
    """Return the subject of a stream's events."""
    return Subject(stream.product.value, stream.id, stream.stream_id, None if folder is None else str(folder))


def body_of(event: str, at: float, subject: Subject, data: Mapping[str, object]) -> bytes:
    """Return a message's body.

    :param event: one of `EVENTS`.
    :param at: Unix time of the event, in seconds.
    """
    moment = iso_time(datetime.fromtimestamp(at, UTC))
    return dumps({"type": event, "timestamp": moment, "data": msgspec.structs.asdict(subject) | dict(data)})


class _Named(Struct):
    event: str | None = None


_NAMED = msgspec.json.Decoder(_Named)


def event_of(kind: str, line: bytes) -> str | None:
    """Return the event type of a line of a recording's file, if it is an event.

    :param kind: the file's: `transcript`, `chat` or `events`.
    """
    if kind in (TRANSCRIPT, CHAT):
        return kind
    try:
        return _BY_NAME.get(_NAMED.decode(line).event or "")
    except msgspec.MsgspecError:
        return None


def data_of(event: str, lines: Sequence[bytes]) -> dict[str, object]:
    """Return the part of an event's `data` that contains lines of a recording's files, unchanged."""
    raw = [Raw(line.rstrip(b"\n")) for line in lines]
    return {"lines": raw} if event in (TRANSCRIPT, CHAT) else {"event": raw[0]}


def event_of_ending(status: str) -> str:
    """Return the event type of a session's end."""
    return {"interrupted": INTERRUPTED, "failed": FAILED}.get(status, FINISHED)


def data_of_ending(finish: Finish, manifest: Manifest | None) -> dict[str, object]:
    """Return an event's data about a session's end: the manifest, without the parts that grow with every packet."""
    stop, reason = None if manifest is None else manifest.stop, finish.stop_reason
    documented = None if reason is None else StopReason.member(reason)
    data: dict[str, object] = {
        "status": finish.status,
        "reason": reason,
        "reason_name": documented.name if isinstance(documented, StopReason) else stop and stop.name,
        "reason_text": documented.gist if isinstance(documented, StopReason) else None,
        "said_by": finish.said_by,
    }
    if manifest is None:
        return data
    return data | {
        "started_at": manifest.started_at,
        "ended_at": manifest.ended_at,
        "duration": _seconds_between(manifest.started_at, manifest.ended_at),
        "tracks": [_picked(track, _TRACK) for track in manifest.tracks[:MOST_LISTED]],
        "participants": [_picked(one, _PARTICIPANT) for one in manifest.participants[:MOST_LISTED]],
        "warnings": [_picked(one, ("text", "count")) for one in manifest.warnings[:MOST_LISTED]],
        "losses": [_picked(one, ("what", "where", "count", "bytes")) for one in manifest.losses[:MOST_LISTED]],
    }


_TRACK = (
    "kind", "path", "user_id", "user_name", "channel_id", "codec", "rate", "channels", "packets", "bytes", "duration",
    "offset", "gap_count", "lost",
)  # fmt: skip
_PARTICIPANT = ("user_id", "user_name", "joined", "left")


def _picked(value: Struct, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names}


def _seconds_between(start: str, end: str | None) -> float | None:
    if end is None:
        return None
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except ValueError:
        return None
