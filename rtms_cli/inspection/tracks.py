"""What the media and text of each track break: timestamps, order, payloads, and what is missing."""

from collections.abc import Callable, Iterator

from pybase64 import b64decode

from rtms_cli.inspection.forms import bad_payload
from rtms_cli.inspection.measure import JUMP_MS, Clock, Pace, is_sane
from rtms_cli.inspection.runs import Sender
from rtms_cli.inspection.summary import step_of
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import Audio, Chat, Media, Transcript, UserId
from rtms_cli.protocol.numbers import Codec
from rtms_cli.protocol.parties import party_of

MOST_TRACKS = 1000
"""Tracks that are followed."""

Break = tuple[str, str]
"""A rule of `lint.SECTIONS`, and what breaks it."""


class Tracks:
    """Follows what each party sends of each kind.

    :param first: whether something was not told yet, by what it is and a key.
    """

    def __init__(self, product: str, first: Callable[[str, object], bool]) -> None:
        self._product = product
        self._first = first
        self._clocks: dict[tuple[str, UserId], Clock] = {}
        self._paces: dict[tuple[str, UserId], Pace] = {}
        self._granted = MediaParams()
        self._codec: int | None = None

    def grant(self, params: MediaParams) -> None:
        """Judge what comes by these parameters from now on."""
        self._granted = params.or_else(self._granted)
        full = self._granted.or_else(DEFAULT_PARAMS)
        self._codec = full.audio.codec if full.audio else None
        for (kind, _), pace in self._paces.items():
            pace.step_ms = step_of(kind, self._granted)

    def take(self, message: Media | Transcript | Chat, at_us: int) -> Iterator[Break]:
        """Take the next message of any track."""
        kind, whose = MEDIA_NAMES[message.media_type], party_of(message, self._product)
        yield from self._on_timestamp(kind, whose, message.timestamp, at_us)
        if isinstance(message, Media):
            yield from self._on_packet(kind, whose, message, at_us)

    def is_flawless(self, run: Sender) -> bool:
        """Whether packets break nothing, and come later than what came before, so that there is nothing to tell."""
        key = run.kind, run.whose
        clock, pace = self._clocks.get(key), self._paces.get(key)
        return (
            clock is not None and pace is not None and pace.comes_in_order(run) and _are_good_payloads(run, self._codec)
        )

    def take_run(self, run: Sender) -> None:
        """Take packets that are flawless."""
        key = run.kind, run.whose
        clock, pace = self._clocks[key], self._paces[key]
        pace.add_run(run)
        assert pace.clock is not None
        if pace.clock.latest_ms > clock.latest_ms:
            clock.latest_ms, clock.at_us = pace.clock.latest_ms, pace.clock.at_us

    def _on_timestamp(self, kind: str, whose: UserId, timestamp: int | None, at_us: int) -> Iterator[Break]:
        key = kind, whose
        if timestamp is None or not is_sane(timestamp):
            if self._first("no timestamp", key):
                text = "no timestamp" if timestamp is None else f"timestamp {timestamp}: no Unix milliseconds"
                yield "timestamp", f"{_of(kind, whose)}: {text}"
            return
        clock = self._clocks.get(key)
        if clock is None:
            if len(self._clocks) < MOST_TRACKS:
                self._clocks[key] = Clock(timestamp, at_us)
            return
        lead_ms = clock.lead_ms(timestamp, at_us)
        if abs(lead_ms) > JUMP_MS:
            way = "ahead of the time that passed" if lead_ms > 0 else "backwards"
            yield "timestamp", f"{_of(kind, whose)}: {timestamp} jumps {abs(lead_ms) / 1000:.1f} s {way}"
            self._clocks[key] = Clock(timestamp, at_us)
        elif timestamp > clock.latest_ms:
            clock.latest_ms, clock.at_us = timestamp, at_us

    def _on_packet(self, kind: str, whose: UserId, message: Media, at_us: int) -> Iterator[Break]:
        if problem := bad_payload(message, self._codec):
            yield "payload", f"{_of(kind, whose)}: {problem}"
        pace = self._paces.get((kind, whose))
        if pace is None:
            if len(self._paces) >= MOST_TRACKS:
                return
            mixed = kind == "audio" and whose is None
            pace = Pace(step_of(kind, self._granted), pictures=kind != "audio", never_pauses=mixed)
            self._paces[kind, whose] = pace
        before = pace.duplicates, pace.out_of_order
        pace.add(message.timestamp, at_us, hash(message.letters()))
        if pace.duplicates > before[0]:
            yield "packet-twice", f"{_of(kind, whose)}: {message.timestamp} came before"
        elif pace.out_of_order > before[1]:
            yield "packet-order", f"{_of(kind, whose)}: {message.timestamp} comes after later ones"

    def lost(self) -> Iterator[Break]:
        """What is missing of mixed sound, which never pauses."""
        for (kind, whose), pace in self._paces.items():
            if kind == "audio" and whose is None and pace.lost:
                count, total_ms, _ = pace.gaps()
                where = "1 gap" if count == 1 else f"{count} gaps"
                text = f"{pace.lost} packets ({total_ms / 1000:.2f} s) are missing in {where}"
                yield "packets-lost", f"{_of(kind, whose)}: {text}"


def _are_good_payloads(run: Sender, codec: int | None) -> bool:
    """Whether `bad_payload` has nothing to say of any."""
    try:
        sizes = [len(b64decode(content.data, None, True)) for content in run.contents]
    except ValueError:
        return False
    if run.media is Audio and codec == Codec.L16 and any(size % 2 for size in set(sizes)):
        return False
    return all(content.length in (None, size) for content, size in zip(run.contents, sizes, strict=True))


def _of(kind: str, whose: UserId) -> str:
    return f"{kind} of {0 if whose is None else whose}"
