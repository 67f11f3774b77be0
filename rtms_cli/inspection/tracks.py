"""What the media and text of each track break: timestamps, order, payloads, and what is missing."""

from collections.abc import Callable, Iterator, Sequence
from operator import lt

from pybase64 import b64decode

from rtms_cli.inspection.forms import bad_payload
from rtms_cli.inspection.measure import JUMP_MS, Clock, Pace, is_sane
from rtms_cli.inspection.runs import Sent
from rtms_cli.inspection.summary import step_of
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import Chat, Media, Transcript, UserId
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
        pace.add(message.timestamp, at_us, message.letters().decode("utf-8", "replace"))
        if pace.duplicates > before[0]:
            yield "packet-twice", f"{_of(kind, whose)}: {message.timestamp} came before"
        elif pace.out_of_order > before[1]:
            yield "packet-order", f"{_of(kind, whose)}: {message.timestamp} comes after later ones"

    def take_all(self, run: Sequence[Sent]) -> bool:
        """Take what was sent in a run, if nothing of it breaks anything; else nothing was taken."""
        keys = [(MEDIA_NAMES[sent.message.media_type], party_of(sent.message, self._product)) for sent in run]
        if len(set(keys)) < len(keys) or not all(map(self._is_clean, keys, run)):
            return False
        for key, sent in zip(keys, run, strict=True):
            self._paces[key].add_run(sent.timestamps, sent.at_us, sent.letters)
            clock = self._clocks[key]
            clock.latest_ms, clock.at_us = sent.timestamps[-1], sent.at_us[-1]
        return True

    def _is_clean(self, key: tuple[str, UserId], sent: Sent) -> bool:
        clock, pace, timestamps = self._clocks.get(key), self._paces.get(key), sent.timestamps
        if clock is None or pace is None or not pace.follows(timestamps[0], timestamps[-1]):
            return False
        is_later = clock.latest_ms < timestamps[0] and timestamps[0] - clock.latest_ms < JUMP_MS
        if not is_later or not all(map(lt, timestamps, timestamps[1:])):
            return False
        is_pcm = key[0] == "audio" and self._codec == Codec.L16
        try:
            sizes = [len(b64decode(letters, None, True)) for letters in sent.letters]
        except ValueError:
            return False
        if is_pcm and any(size % 2 for size in sizes):
            return False
        return all(told in (None, size) for told, size in zip(sent.lengths, sizes, strict=True))

    def lost(self) -> Iterator[Break]:
        """What is missing of mixed sound, which never pauses."""
        for (kind, whose), pace in self._paces.items():
            if kind == "audio" and whose is None and pace.lost:
                count, total_ms, _ = pace.gaps()
                where = "1 gap" if count == 1 else f"{count} gaps"
                text = f"{pace.lost} packets ({total_ms / 1000:.2f} s) are missing in {where}"
                yield "packets-lost", f"{_of(kind, whose)}: {text}"


def _of(kind: str, whose: UserId) -> str:
    return f"{kind} of {0 if whose is None else whose}"
