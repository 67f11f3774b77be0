"""Runs of media packets: read in one go, and placed in one step where they follow each other.

Theory of operation. A packet of a flow that goes on changes nothing but counters and the end of one track. Whether that
is so is looked at for each packet, and what is not surely of that kind is read and taken on its own, as a frame, in its
turn. So the outcome is the same for any cut into runs: that of the frames, one by one.

What is put off until the end of a run is the placing of plain PCM alone, and only of packets for which placing is
silent: it makes no file, warns of nothing and loses nothing. So it does not matter that others come before it.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from pybase64 import b64decode

from rtms_cli.machine import Direction, Frame, Item, Packets
from rtms_cli.protocol.messages import MEDIA_KINDS, Packet, PacketContent, UserId, read, read_packets
from rtms_cli.protocol.numbers import MessageType
from rtms_cli.protocol.parties import BY_CHANNEL, party
from rtms_cli.recording.channels import Channel
from rtms_cli.recording.intake import Intake
from rtms_cli.recording.ledger import Ledger
from rtms_cli.recording.placing import MOST_TRACKS, Placer
from rtms_cli.recording.timeline import JITTER_MS, Segment, SessionTime

_AUDIO = int(MessageType.MEDIA_DATA_AUDIO)
_NOBODY = object()
"""What nobody is called."""


class Run(Struct, frozen=True, gc=False):
    """Packets that were read."""

    packets: Packets
    read: Sequence[Packet]


def in_runs(items: Sequence[Item]) -> list[Frame | Run]:
    """Read all packets; those that are not as documented become frames."""
    found: list[Frame | Run] = []
    for item in _joined(items):
        if isinstance(item, Frame):
            found.append(item)
        elif (packets := item.read or read_packets(item.raws)) is not None:
            found.append(Run(item, packets))
        else:
            found.extend(item.frames())
    return found


def _joined(items: Sequence[Item]) -> Iterator[Item]:
    """The same, with packets that follow each other on a channel as one run: in real time each comes alone."""
    waiting: list[Packets] = []
    for item in items:
        goes_on = isinstance(item, Packets) and not item.lines
        if waiting and not (goes_on and item.channel == waiting[0].channel):
            yield _as_one(waiting)
            waiting = []
        if isinstance(item, Packets) and goes_on:
            waiting.append(item)
        else:
            yield item
    if waiting:
        yield _as_one(waiting)


def _as_one(packets: list[Packets]) -> Packets:
    if len(packets) == 1:
        return packets[0]
    at_us = [at_us for each in packets for at_us in each.at_us]
    raws = [raw for each in packets for raw in each.raws]
    return Packets(packets[0].channel, at_us, raws, sum(each.nbytes for each in packets))


class _Flow:
    """One sender's plain PCM, of which the next packets are like the last one."""

    __slots__ = ("at_us", "intake", "least_ms", "name", "nbytes", "next_ms", "payloads", "timestamps")

    def __init__(self, intake: Intake, steady: tuple[int, int, int], name: str | None) -> None:
        self.intake = intake
        self.name = name
        self.nbytes, self.next_ms, self.least_ms = steady
        self.at_us = 0
        self.timestamps: list[int] = []
        self.payloads: list[bytes] = []

    def settle(self) -> None:
        """Place what has come."""
        if self.timestamps:
            self.intake.add_run(self.timestamps, self.payloads, self.at_us)
            self.timestamps, self.payloads = [], []


def _note_time(segment: Segment, timestamp: int, at_us: int) -> None:
    """Take note of a time that is one of the segment's, as `SessionTime.find` does."""
    if timestamp >= segment.latest_ms:
        segment.latest_ms = timestamp
        segment.latest_at_us = at_us


class Runs:
    """Takes runs for a recorder.

    :param take_alone: takes a frame as if there were no runs.
    """

    def __init__(
        self, product: str, ledger: Ledger, placer: Placer, time: SessionTime, take_alone: Callable[[Frame], None]
    ) -> None:
        self._ledger = ledger
        self._placer = placer
        self._time = time
        self._take_alone = take_alone
        self._product = product
        self._hears_once = product not in BY_CHANNEL
        """Whether it says nothing new when a sender is heard again under the same name."""
        self._heard: dict[tuple[int, UserId], str | None] = {}
        self._flows: dict[tuple[str, UserId, UserId], _Flow] = {}
        self._senders: dict[Intake, tuple[str, UserId, UserId]] = {}
        """Whose flow goes into an intake: everyone's sound may come with several ids, and on several channels."""
        self._segment: Segment | None = None
        """Where the flows are."""

    def settle(self) -> None:
        """Place what was put off, and look at everything again: a frame comes, or the files are written."""
        for flow in self._flows.values():
            flow.settle()
        self._flows.clear()
        self._senders.clear()
        self._heard.clear()

    def take(self, run: Run) -> None:
        """Take packets."""
        packets, flows = run.packets, self._flows
        name, entries = packets.channel, zip(packets.at_us, packets.raws, run.read, strict=True)
        count = nbytes = 0
        channel, segment = self._standing(name)
        for at_us, raw, packet in entries:
            content = packet.content
            timestamp = content.timestamp
            if segment is None or channel is None:
                pass
            elif not (0 <= timestamp - segment.latest_ms <= JITTER_MS or self._is_late(segment, timestamp)):
                pass
            elif packet.msg_type == _AUDIO:
                flow = flows.get((name, content.user_id, content.channel_id))
                if flow is not None and timestamp >= flow.next_ms and content.user_name == flow.name:
                    try:
                        payload = b64decode(content.data, None, True)  # by position: keywords cost as much
                    except ValueError:
                        payload = b""
                    if len(payload) == flow.nbytes and content.length in (None, flow.nbytes):
                        flow.timestamps.append(timestamp)
                        flow.payloads.append(payload)
                        flow.next_ms = timestamp + flow.least_ms
                        flow.at_us = at_us
                        if timestamp >= segment.latest_ms:
                            segment.latest_ms = timestamp
                            segment.latest_at_us = at_us
                        count += 1
                        nbytes += len(raw)
                        continue
                if self._take_audio(channel, segment, name, at_us, raw, content):
                    continue
            elif self._take_picture(channel, segment, name, at_us, raw, packet):
                continue
            self._take_frame(Frame(at_us, name, Direction.IN, raw, read(raw)))
            channel, segment = self._standing(name)
        self._ledger.count_audio(count, nbytes, packets.at_us[-1])

    def _standing(self, name: str) -> tuple[Channel | None, Segment | None]:
        """What packets on a channel can go by; `None` if each is to be taken as a frame."""
        segment, channel = self._time.flowing, self._placer.channels.known.get(name)
        if segment is not self._segment:
            self.settle()
            self._segment = segment
        is_told = channel is not None and (channel.has_granted or channel.warned)
        if channel is None or not is_told or channel.aside or not self._ledger.is_flowing:
            return None, None
        return channel, segment

    def _is_late(self, segment: Segment, timestamp: int) -> bool:
        """Whether a time is one of the segment's that changes nothing about it; as in `Segment.admits`."""
        return segment.zero_ms <= timestamp < segment.latest_ms <= timestamp + self._time.max_gap_ms

    def _take_frame(self, frame: Frame) -> None:
        self.settle()
        self._take_alone(frame)

    def _take_audio(
        self, channel: Channel, segment: Segment, name: str, at_us: int, raw: bytes, content: PacketContent
    ) -> bool:
        """Take a packet of a sender who is known; returns whether it was one."""
        ledger, sender = self._ledger, (name, content.user_id, content.channel_id)
        intake = channel.intakes.get((content.user_id, content.channel_id, segment))
        if intake is None or not (channel.is_decoded and ledger.counts_audio):
            return False
        if content.user_name and content.user_name != intake.heard_name:
            return False
        try:
            payload = b64decode(content.data, None, True)
        except ValueError:
            return False
        if content.length is not None and content.length != len(payload):
            return False
        if (before := self._senders.pop(intake, None)) is not None:
            self._flows.pop(before).settle()
        _note_time(segment, content.timestamp, at_us)
        ledger.count_audio(1, len(raw), at_us)
        intake.add(content.timestamp, payload, at_us)
        steady = intake.steady()
        if steady is not None:
            self._flows[sender] = _Flow(intake, steady, content.user_name)
            self._senders[intake] = sender
        return True

    def _take_picture(
        self, channel: Channel, segment: Segment, name: str, at_us: int, raw: bytes, packet: Packet
    ) -> bool:
        """Take a picture of a kind that has been seen; returns whether it was one."""
        ledger, content = self._ledger, packet.content
        kind = MEDIA_KINDS[packet.msg_type]
        tally = ledger.media_tally(kind)
        if tally is None:
            return False
        try:
            payload = b64decode(content.data, None, True)
        except ValueError:
            return False
        message = content.message(kind)
        sender = packet.msg_type, party(self._product, content.user_id, content.channel_id)
        if not self._hears_once or self._heard.get(sender, _NOBODY) != content.user_name:
            ledger.people.hear(message, at_us)
            if len(self._heard) < MOST_TRACKS:
                self._heard[sender] = content.user_name
        _note_time(segment, content.timestamp, at_us)
        ledger.at_us = at_us
        tally.count += 1
        tally.nbytes += len(raw)
        self._placer.place_picture(name, channel, message, payload, at_us)
        return True
