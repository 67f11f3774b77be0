"""The whole inspection as one page that needs nothing but itself, and the WAV files of the recording it lies in.

Everything from outside travels as JSON in a script element that is not run; the page's own script writes it as text.
The policy in the page lets no other script or style in, and nothing be fetched but sound.
"""

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sized
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from rtms_cli.capture import Capture, Header
from rtms_cli.inspection.documents import sections
from rtms_cli.inspection.lanes import LaneCollector
from rtms_cli.inspection.lint import lint
from rtms_cli.inspection.measure import is_sane
from rtms_cli.inspection.reading import Piece, in_pieces
from rtms_cli.inspection.sheets import sheets
from rtms_cli.inspection.sound import Outline, Recorded, Sound, look_at
from rtms_cli.inspection.summary import Summarizer, Summary
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol.conversation import Conversation, chat_line
from rtms_cli.protocol.messages import Chat, EventUpdate, Transcript, UserId
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.parties import Parties, event_label, label
from rtms_cli.protocol.sentences import CHANGES, SentenceReader
from rtms_cli.recording.files import atomic_write
from rtms_cli.untrusted import is_folder

MOST_LINES = 50_000
"""Transcript lines that a page shows, chat messages, and events; the rest is counted."""
MOST_SOUNDS = 100
"""WAV files that a page draws."""
MOST_POINTS = 4_000_000
"""Points of all waves together, a byte each: 4 ms a point for three hours of one file, 20 ms for seven."""
_BINS = 1 << 17
"""How finely lanes remember time: 1 ms for two minutes, 128 ms for three hours."""
_MOST_SPANS = 300_000
_HEAD = ("product", "id", "rtms_stream_id", "created", "generator", "seconds", "status", "stop", "steps")
_SLOT = re.compile(r"\{\{(\w+)\}\}")


class Said(Struct, frozen=True):
    """A line of text: seconds on the capture's clock, and until when it was spoken."""

    kind: str
    """`transcript`, `chat` or `event`."""
    at: float
    end: float
    who: str
    text: str


Link = Callable[[Path], str | None]
"""The URL by which a page reaches a file; `None` if there is none."""


def write_page(recording: Path, target: Path) -> int:
    """Write the page of a recording's folder, or of a capture, to a file.

    :returns: its size in bytes.
    :raises Problem: when the capture cannot be read.
    :raises OSError: when the target cannot be written.
    """
    source = Capture(recording)
    folder = recording if is_folder(recording) else None
    return save(page(source.header, in_pieces(source), source.path, folder, link_from(target)), target)


def save(parts: Iterable[bytes], target: Path) -> int:
    """Write what `page` yields to a file, all or nothing.

    :returns: its size in bytes.
    :raises OSError: when the target cannot be written.
    """
    content = b"".join(parts)
    atomic_write(target, content)
    return len(content)


def link_from(target: Path) -> Link:
    """Links to files on the same machine, relative to where the page is."""

    def link(path: Path) -> str | None:
        try:
            relative = os.path.relpath(os.path.realpath(path), Path(os.path.realpath(target)).parent)
        except ValueError:  # as between two drives
            return None
        # A first part with a colon would be read as a scheme.
        return "./" + quote(os.fsencode(Path(relative).as_posix()))

    return link


def page(
    header: Header, lines: Iterable[Piece], capture: Path, folder: Path | None, link: Link, home: str = ""
) -> Iterator[bytes]:
    """Read a capture once and yield the page as UTF-8, part by part.

    :param capture: the capture's name, which the page shows.
    :param folder: the recording, if there is one: the page draws and links its WAV files.
    :param link: the URL of a WAV file. The page's policy lets it load sound from its own origin, or from files.
    :param home: the URL of the list of recordings, where the page has one.
    """
    summarizer, texts = Summarizer(header), _Texts(header.product)
    lanes = LaneCollector(header.product, text=False, bins=_BINS, spans=_MOST_SPANS)

    def watched() -> Iterator[Piece]:
        for number, frame in lines:
            summarizer.take(frame)
            if not isinstance(frame, str):
                lanes.take(frame)
            if isinstance(frame, Frame):
                texts.take(frame)
            yield number, frame

    findings = list(lint(watched(), header.product))
    summary = summarizer.summary(str(capture))
    recorded, outlines = look_at(folder, MOST_POINTS) if folder is not None else (None, {})
    summary = replace(summary, recorded=recorded)
    title = recorded.title if recorded is not None else None
    names = _names(summary)
    timeline = lanes.timeline()
    data = {
        "title": title,
        "summary": {name: getattr(summary, name) for name in _HEAD},
        "counts": {
            "messages": sum(count.count for count in summary.messages),
            "participants": len(summary.participants),
            "reconnects": sum(len(lane.spans) for lane in timeline.lanes if lane.kind == "reconnect"),
            "lost": sum(track.lost or 0 for track in summary.tracks),
        },
        "zero": summary.origin_at,
        "sounds": list(_sounds(recorded, names, summary.product, folder, link)),
        "lanes": timeline.lanes,
        "unlisted": timeline.unlisted + max(0, len(recorded.sounds if recorded else ()) - MOST_SOUNDS),
        "said": texts.said(summary, names),
        "unsaid": texts.unlisted,
        "findings": [to_builtins(found) | {"title": sections()[found.section].title} for found in findings],
        "sheets": sheets(summary),
    }
    waves = [outlines.get(sound.path) for sound in _drawn(recorded)]
    yield from _fill(title or f"{summary.product or 'capture'} {summary.id}".strip(), to_builtins(data), waves, home)


class _Texts:
    """What was said and written, and the events."""

    def __init__(self, product: str) -> None:
        self._product = Product(product) if product in tuple(Product) else Product.MEETING
        self._parties = Parties(product)
        self._events: list[tuple[float, str]] = []
        self._lines: list[tuple[float, dict[str, Any]]] = []
        self._chat = Conversation(MOST_LINES)
        self._unlisted = 0

    @property
    def unlisted(self) -> int:
        """How many lines are left out."""
        return self._unlisted + self._chat.left_out

    def take(self, frame: Frame) -> None:
        """Take the next frame."""
        if isinstance(frame.message, ChannelState) and frame.message.state is State.MARK:
            self._tell(frame, f"mark: {frame.message.reason}")
        if frame.direction is not Direction.IN:
            return
        match frame.message:
            case Transcript() as line if line.text or line.attribute in CHANGES:
                if self._has_room(self._lines):
                    self._lines.append((frame.at_us / 1_000_000, _line(line)))
            case Chat() as line:
                self._chat.take(frame.at_us / 1_000_000, chat_line(line) | {"timestamp": line.timestamp})
            case EventUpdate() as event:
                told = self._parties.people_of(event)[:20]
                people = ", ".join(label(self._product, who.party, who.name) for who in told)
                self._tell(frame, f"{event_label(event, self._product)} {people}".strip())
            case _:
                pass

    def _tell(self, frame: Frame, text: str) -> None:
        if self._has_room(self._events):
            self._events.append((frame.at_us / 1_000_000, text))

    def _has_room(self, place: Sized) -> bool:
        has_room = len(place) < MOST_LINES
        self._unlisted += not has_room
        return has_room

    def said(self, summary: Summary, names: dict[UserId, str]) -> list[Said]:
        """All lines, in order of time; sentences and chat as they stood in the end."""
        zero_ms, zero = summary.origin_ms, summary.origin_at or 0.0
        found = [Said("event", round(at, 3), round(at, 3), "", text) for at, text in self._events]
        lines = (line | {"t": _placed(at, line["timestamp"], zero_ms, zero) - zero} for at, line in self._lines)
        for one in SentenceReader(self._parties, zero_ms, names).read(lines):
            at, end = zero + one.start, zero + min(one.end, one.start + _LONGEST_S)
            found.append(Said("transcript", round(at, 3), round(end, 3), one.name, one.text))
        self._chat.call(names)
        for post in self._chat.posts:
            at = round(_placed(post.at or 0.0, post.stamp, zero_ms, zero), 3)
            found.append(Said("chat", at, at, self._chat.sender(post), post.shown()))
        return sorted(found, key=lambda line: line.at)


def _line(said: Transcript) -> dict[str, Any]:
    """What `SentenceReader` reads."""
    return {
        "start_time": said.start_time,
        "end_time": said.end_time,
        "timestamp": said.timestamp,
        "user_id": said.user_id,
        "channel_id": said.channel_id,
        "user_name": said.user_name,
        "attribute": None if said.attribute is None else int(said.attribute),
        "text": said.text,
    }


def _placed(at: float, stamp: int | None, zero_ms: int | None, zero: float) -> float:
    """When something was said: its timestamp, unless that is far from when it came."""
    if stamp is None or not is_sane(stamp) or zero_ms is None:
        return at
    by_stamp = zero + (stamp - zero_ms) / 1000
    return by_stamp if abs(by_stamp - at) < _MOST_DELAY_S else at


_MOST_DELAY_S = 300.0
_LONGEST_S = 120.0


def _names(summary: Summary) -> dict[UserId, str]:
    return {person.user_id: person.user_name for person in summary.participants if person.user_name}


def _sounds(
    recorded: Recorded | None,
    names: dict[UserId, str],
    product: str,
    folder: Path | None,
    link: Link,
) -> Iterator[dict[str, object]]:
    for sound in _drawn(recorded):
        yield {
            "name": _name_of(sound, names, product),
            "path": sound.path,
            "mixed": sound.party is None,
            "link": None if folder is None or sound.problem else link(folder / sound.path),
            "offset": sound.offset,
            "duration": sound.duration,
            "gaps": sound.gaps,
            "rms": sound.rms_dbfs,
            "problem": sound.problem,
        }


def _drawn(recorded: Recorded | None) -> list[Sound]:
    return recorded.sounds[:MOST_SOUNDS] if recorded is not None else []


def _name_of(sound: Sound, names: dict[UserId, str], product: str) -> str:
    return label(product, sound.party, names.get(sound.party) or sound.user_name) or "everyone"


def _fill(title: str, data: object, waves: list[Outline | None], home: str) -> Iterator[bytes]:
    template = files("rtms_cli.inspection").joinpath("page.html").read_text("utf-8")
    script, style = (_between(template, f"<{tag}>", f"</{tag}>") for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; media-src 'self' file:; "
        "base-uri 'none'; form-action 'none'"
    )
    # `<` cannot end the element or open a comment, and pure ASCII holds whatever a name may be made of.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").encode()
    slots: dict[str, Iterable[bytes]] = {
        "title": [html.escape(title.encode("utf-8", "replace").decode()).encode()],
        "policy": [policy.encode()],
        "data": [text],
        "waves": map(_wave, waves),
        "home": [f'<a class="home" href="{html.escape(home)}">← Recordings</a>'.encode()] if home else [],
    }
    for place, part in enumerate(_SLOT.split(template)):
        yield from slots[part] if place % 2 else [part.encode()]


def _wave(outline: Outline | None) -> bytes:
    """An outline as an element of its own: the browser need not read what it does not draw yet."""
    step, levels = (outline.seconds_a_point, outline.levels) if outline is not None else (0.0, b"")
    return b'<script type="text/plain" class="wave" data-step="%r">%b</script>\n' % (step, base64.b64encode(levels))


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
