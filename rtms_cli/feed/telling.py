"""Puts what a station tells into a journal: an `Observer` that formats nothing itself."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rtms_cli.feed.journal import Journal
from rtms_cli.feed.messages import Event
from rtms_cli.machine import ChannelState, Direction, Finish, Frame, State
from rtms_cli.protocol.conversation import chat_change, chat_gist, chat_receivers
from rtms_cli.protocol.endings import how_it_ended
from rtms_cli.protocol.messages import Chat, KeepAliveRequest, KeepAliveResponse, Media, Transcript
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.parties import label, name_of, party_of
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.protocol.sentences import CHANGES, transcript_gist
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.view.gist import gist
from rtms_cli.view.lines import is_worth_a_look

MOST_TEXT = 4_000
"""Characters of a text that an event has; the recording has all of it."""
_CONNECTION = (State.OPENING, State.OPEN, State.REFUSED, State.CLOSED)


class Telling:
    """An `Observer`; see the module.

    :param now: returns the time of day, in UTC.
    """

    def __init__(self, journal: Journal, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._journal = journal
        self._now = now
        self._products: dict[str, Product] = {}

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`."""
        self._products[stream.stream_id] = stream.product
        self._add(
            "started",
            stream_id=stream.stream_id,
            product=stream.product.value,
            id=cut(stream.id),
            recording=None if folder is None else name_of_folder(folder),
        )

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""
        if isinstance(frame.message, KeepAliveRequest | KeepAliveResponse):
            return
        at, product = iso_time(self._now()), self._products.get(stream_id, Product.MEETING)
        self._journal.add(lambda seq: event_of(seq, at, stream_id, frame, product), 2 * len(frame.raw))

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`. Pictures tell it."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        self._products.pop(stream.stream_id, None)
        self._add(
            "finished",
            stream_id=stream.stream_id,
            product=stream.product.value,
            id=cut(stream.id),
            recording=None if folder is None else name_of_folder(folder),
            status=str(finish.status),
            reason=cut(_why(finish)),
            losses=0 if manifest is None else len(manifest.losses),
            is_warning=finish.status in ("failed", "interrupted") or bool(manifest is not None and manifest.losses),
        )

    def on_notice(self, text: str) -> None:
        """See `Observer`."""
        self._add("notice", text=cut(redact_url(text)), is_warning=text.startswith("WARNING"))

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        stream_id = fields.get("stream_id")
        self._add(
            name,
            stream_id=stream_id if isinstance(stream_id, str) else None,
            text=cut(text),
            is_warning=is_worth_a_look(fields, text),
            fields=dict(fields),
        )

    def _add(self, event: str, **fields: object) -> None:
        at = iso_time(self._now())
        nbytes = sum(len(value) for value in fields.values() if isinstance(value, str))
        self._journal.add(lambda seq: Event(seq, at, event, **fields), nbytes)  # type: ignore[arg-type]


def _why(finish: Finish) -> str:
    """How it ended, for people, without the status."""
    how = how_it_ended(finish.status, finish.stop_reason, finish.said_by)
    return how.removeprefix(str(finish.status)).lstrip(",: ")


def event_of(seq: int, at: str, stream_id: str, frame: Frame, product: Product) -> Event:
    """What the feed says of a frame that is not a media packet."""
    message, t = frame.message, round(frame.at_us / 1_000_000, 3)
    match message:
        case ChannelState(state=state) if state in _CONNECTION:
            reason = redact_url(message.url) if state is State.OPENING else message.reason
            is_bad = state is State.REFUSED or (state is State.CLOSED and not message.ours and message.code != 1000)
            return Event(
                seq, at, "connection", stream_id, t, channel=frame.channel, state=state.value, code=message.code,
                reason=cut(reason), is_warning=is_bad,
            )  # fmt: skip
        case ChannelState(state=State.MARK):
            return Event(seq, at, "mark", stream_id, t, cut(message.reason))
        case ChannelState(state=State.WARNING):
            return Event(seq, at, "notice", stream_id, t, cut(message.reason), is_warning=True)
        case ChannelState(state=State.DROPPED):
            text = f"{message.count} media messages were read and not kept: {message.reason}"
            return Event(seq, at, "notice", stream_id, t, cut(text), is_warning=True)
        case Transcript() if frame.direction is Direction.IN and (said := transcript_gist(message)):
            return Event(
                seq, at, "transcript", stream_id, t, cut(said),
                user_id=party_of(message, product), user_name=_who(message, product),
                line_id=str(message.start_time or ""), change=CHANGES.get(message.attribute, "").lower(),
            )  # fmt: skip
        case Chat() if frame.direction is Direction.IN:
            return Event(
                seq, at, "chat", stream_id, t, cut(chat_gist(message)),
                user_id=party_of(message, product), user_name=_who(message, product),
                line_id=cut(message.message_id or ""), change=chat_change(message),
                to=cut(chat_receivers(message)) or None,
            )  # fmt: skip
        case _:
            text = gist(frame, product)
            return Event(
                seq, at, "frame", stream_id, t, cut(text), channel=frame.channel, direction=frame.direction.value
            )


def _who(message: Media | Transcript | Chat, product: Product) -> str | None:
    return label(product, party_of(message, product), name_of(message, product)) or None


def name_of_folder(folder: Path) -> str:
    """A recording's name, as text."""
    return folder.name.encode("utf-8", "replace").decode()


def cut(text: object) -> str:
    """A text that JSON can hold, cut where it is very long."""
    shown = str(text)
    shown = shown if len(shown) <= MOST_TEXT else f"{shown[: MOST_TEXT - 1]}…"
    return shown.encode("utf-8", "replace").decode()
