"""Which lines of a capture a person wants to see, and their JSON with media cut short."""

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.inspection.reading import Line
from rtms_cli.machine import Frame
from rtms_cli.protocol.messages import (
    Chat,
    EventUpdate,
    Media,
    Message,
    Transcript,
    Unknown,
    Unreadable,
    UserId,
    VideoSubscriptionRequest,
    VideoSubscriptionResponse,
    loads,
    user_id,
)
from rtms_cli.protocol.numbers import MessageType
from rtms_cli.protocol.parties import Parties, name_of, without_phone_numbers
from rtms_cli.protocol.times import clock_time
from rtms_cli.protocol.webhooks import UnreadableWebhook

SHOWN_LETTERS = 40
"""Letters of a media payload that are left."""
_MOST_NAMES = 10_000
_MOST_LISTED = 10


class Wanted(Struct, frozen=True):
    """What to show; what is `None` or empty lets everything pass."""

    types: frozenset[int | str] = frozenset()
    channel: str = ""
    """A channel's name; `media` is also `media.audio`, …"""
    user: str = ""
    """A user id, or a part of a name."""
    start: float | None = None
    end: float | None = None


def read_types(given: Iterable[str]) -> frozenset[int | str]:
    """Read `--type`: numbers, Zoom's names, kinds of media (`audio`), or a request and its answer (`KEEP_ALIVE`).

    Several stand with `,` or `|` between them.

    :raises Problem: for a name that no message has.
    """
    types: set[int | str] = set()
    for name in re.split(r"[,|]", ",".join(given)):
        if not name.strip():
            continue
        found = _type(name.strip().upper())
        if not found:
            raise Problem(
                f"There is no message type {name.strip()!r}.",
                "Use a number such as 12, or a name such as audio, EVENT_UPDATE or KEEP_ALIVE.",
            )
        types |= found
    return frozenset(types)


def _type(name: str) -> set[int]:
    if name.isascii() and name.isdigit():
        return {int(name)}
    for kind in MessageType:
        if name in (kind.name, kind.name.removeprefix("MEDIA_DATA_")):
            return {int(kind)}
    return {int(kind) for kind in MessageType if kind.name in (f"{name}_REQ", f"{name}_RESP")}


class Seen:
    """What there was to choose from, for the error where nothing passed."""

    def __init__(self) -> None:
        self.passed = False
        self.last_at = 0.0
        self.channels: dict[str, None] = {}
        self.types: set[int] = set()
        self.names: dict[UserId, str | None] = {}

    def why_nothing(self, wanted: Wanted) -> Problem | None:
        """What to say where a filter names something that is not there; `None` if each has its match."""
        if wanted.channel and not any(_is_on(channel, wanted.channel) for channel in self.channels):
            listed = _listed(list(self.channels))
            return Problem(f"--channel {wanted.channel}: there is no such channel.", f"There are {listed}.")
        if wanted.user and not any(_is(wanted.user, whose, name) for whose, name in self.names.items()):
            listed = _listed([" ".join(filter(None, (str(whose), name))) for whose, name in self.names.items()])
            what = f"--user {wanted.user}: there is no such participant."
            return Problem(what, f"There are {listed}." if listed else "No message is about a participant.")
        if wanted.types and not wanted.types & self.types:
            asked = ", ".join(MessageType.label(kind) for kind in sorted(wanted.types, key=str))
            listed = _listed([MessageType.label(kind) for kind in sorted(self.types)])
            return Problem(f"--type: there is no message of type {asked}.", f"There are {listed}.")
        if wanted.start is not None and wanted.start > self.last_at:
            what = f"--from {clock_time(wanted.start)} is after the last message."
            return Problem(what, f"That came at {clock_time(self.last_at)} ({self.last_at:.3f} s).")
        return None


def _listed(known: list[str]) -> str:
    """Some of what there is, for an error."""
    return ", ".join(known[:_MOST_LISTED]) + (
        f" and {len(known) - _MOST_LISTED} others" if known[_MOST_LISTED:] else ""
    )


def select(lines: Iterable[Line], wanted: Wanted, product: str, seen: Seen) -> Iterator[Line]:
    """The lines that pass; stops reading after `end`, unless nothing has passed.

    :param seen: learns what there was.
    """
    names = seen.names
    parties = Parties(product)
    everything = not (wanted.types or wanted.user or wanted.channel)
    for number, frame in lines:
        if isinstance(frame, str):
            if everything and wanted.start is None and wanted.end is None:
                seen.passed = True
                yield number, frame
            continue
        at, kind = frame.at_us / 1_000_000, type_of(frame)
        is_late = wanted.end is not None and at > wanted.end
        if is_late and seen.passed:
            return
        people = _people(frame, parties) if wanted.user else []
        for whose, name in people:
            if whose is not None and (whose in names or len(names) < _MOST_NAMES):
                names[whose] = name or names.get(whose)
        if not everything:
            if len(seen.channels) < _MOST_NAMES:
                seen.channels[frame.channel] = None
            if isinstance(kind, int) and len(seen.types) < _MOST_NAMES:
                seen.types.add(kind)
        seen.last_at = max(seen.last_at, at)
        if (
            not is_late
            and (wanted.start is None or at >= wanted.start)
            and (not wanted.channel or _is_on(frame.channel, wanted.channel))
            and (not wanted.types or kind in wanted.types)
            and (not wanted.user or any(_is(wanted.user, whose, name or names.get(whose)) for whose, name in people))
        ):
            seen.passed = True
            yield number, frame


def type_of(frame: Frame) -> int | str | None:
    """The frame's `msg_type` as a number where it has one."""
    message = frame.message
    if isinstance(message, Unknown):
        return message.type
    if isinstance(message, Message) and not isinstance(message, Unreadable):
        return int(message.msg_type)
    return None


def _is_on(channel: str, wanted: str) -> bool:
    return f"{channel}.".startswith(f"{wanted}.")


def _people(frame: Frame, parties: Parties) -> list[tuple[UserId, str | None]]:
    """The participants that a frame speaks of, with names where it gives them."""
    match frame.message:
        case EventUpdate() as event:
            people = parties.people_of(event)
            return [(whose, who.name) for who in people for whose in (who.party, who.user_id) if whose is not None]
        case Media() | Transcript() | Chat() as said:
            whose, name = parties.party_of(said), name_of(said, parties.product)
            # In Contact Center a party has a user id as well, which a person may know it by.
            return [(whose, name), *([(said.user_id, None)] if said.user_id not in (None, whose) else [])]
        case VideoSubscriptionRequest(user_id=whose) | VideoSubscriptionResponse(user_id=whose):
            return [(whose, None)]
        case _:
            return []


def shown_json(frame: Frame, *, full: bool) -> object:
    """The frame's JSON as a value, its media payload cut short unless `full`; text where it is not JSON."""
    if isinstance(frame.message, Unreadable | UnreadableWebhook):
        return _text(frame)
    try:
        body = loads(frame.raw)
    except ValueError:
        return _text(frame)
    if not full:
        body = without_phone_numbers(body)
    if not full and isinstance(frame.message, Media) and isinstance(body, dict):
        inner = body.get("content")
        where, key = (inner, "data") if isinstance(inner, dict) else (body, "content" if "content" in body else "data")
        data = where.get(key)
        if isinstance(data, str) and len(data) > SHOWN_LETTERS:
            where[key] = f"{data[:SHOWN_LETTERS]}… ({len(data)} letters)"
    return body


def _text(frame: Frame) -> str:
    return frame.raw.decode("utf-8", "backslashreplace")


def _is(user: str, whose: UserId, name: str | None) -> bool:
    return user == str(whose) or (isinstance(user_id(user), str) and user.casefold() in (name or "").casefold())
