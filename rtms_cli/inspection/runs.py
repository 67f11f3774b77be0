"""Runs of media packets: looked at together, where one by one would say the same.

Theory of operation. A taker (the summary, the lanes, the lint) has a way to take a run in one step, which first looks
whether it may: whether everything that the packets can change, beside counters, stays as it is. Where it may not, it
changes nothing, and the run is halved, until a few packets are taken one by one, as frames. So the outcome is that of
the frames.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from rtms_cli.machine import Frame, Packets
from rtms_cli.protocol.media import MEDIA_NAMES
from rtms_cli.protocol.messages import (
    MEDIA_KINDS,
    DocumentedPacket,
    Media,
    Packet,
    PacketContent,
    UserId,
)
from rtms_cli.protocol.parties import BY_CHANNEL, party

_FEW = 4
"""So many packets are not halved any more."""


class Sender(Struct, gc=False):
    """The packets of a run that are of one kind and one party, in their order."""

    channel: str
    kind: str
    """`audio`, `video` or `share`."""
    whose: UserId
    media: type[Media]
    has_channel: bool
    nbytes: int = 0
    """Of the messages."""
    at_us: list[int] = []
    """When each came; never decreasing."""
    contents: list[PacketContent] = []
    timestamps: list[int] = []
    delays_us: list[int] = []
    """How long after its timestamp each came, by two clocks that have nothing to do with each other."""

    @property
    def payload_nbytes(self) -> int:
        """How many bytes the base64 of all packets stands for."""
        return sum([len(content.data.rstrip("=")) * 3 // 4 for content in self.contents])

    @property
    def has_one_name(self) -> bool:
        """Whether all packets call their sender the same."""
        return len({content.user_name for content in self.contents}) == 1

    def data_hash(self, place: int) -> int:
        """What distinguishes a payload from another."""
        return hash(self.contents[place].data.encode())

    def message(self, place: int = 0) -> Media:
        """One of the packets, as a message."""
        return self.contents[place].message(self.media)


class Run(Struct, frozen=True, gc=False):
    """Packets that were read, on lines of a capture that follow each other."""

    line: int
    """The number of the first one."""
    packets: Sequence[Packets]
    at_us: Sequence[int]
    read: Sequence[Packet]
    senders: list[Sender]
    product: str

    def __len__(self) -> int:
        return len(self.read)

    @property
    def is_documented(self) -> bool:
        """Whether no packet has a field that is not documented."""
        return all(isinstance(packet, DocumentedPacket) for packet in self.read)

    @property
    def raws(self) -> list[bytes]:
        """The messages."""
        return [raw for packets in self.packets for raw in packets.raws]

    def heard(self) -> Iterable[tuple[Media, int]]:
        """The messages, and when they came, that tell who sends: those of the others are the same again."""
        if all(sender.has_one_name for sender in self.senders) and (
            self.product not in BY_CHANNEL or all(map(_is_told_by_channel, self.senders))
        ):
            return [(sender.message(), sender.at_us[0]) for sender in self.senders]
        messages = (packet.content.message(MEDIA_KINDS[packet.msg_type]) for packet in self.read)
        return zip(messages, self.at_us, strict=True)

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """The lines one by one."""
        return enumerate((frame for packets in self.packets for frame in packets.frames()), self.line)

    def halves(self) -> Iterator["Run"]:
        """The same in two runs."""
        middle = len(self.packets) // 2
        halves = (self.packets[:middle], self.packets[middle:]) if middle else _halves(self.packets[0])
        line = self.line
        for packets in halves:
            half = _run(line, packets, self.product)
            yield half
            line += len(half)

    def take(self, at_once: Callable[["Run"], bool], alone: Callable[[Frame], None]) -> None:
        """Have all of it taken, in as few steps as may be.

        :param at_once: takes a run in one step, or takes nothing and returns that.
        """
        if at_once(self):
            return
        if self.is_short:
            for _, frame in self.frames():
                alone(frame)
        else:
            for half in self.halves():
                half.take(at_once, alone)

    @property
    def is_short(self) -> bool:
        """Whether it is not worth halving."""
        return len(self.read) <= _FEW


def run_of(line: int, packets: Sequence[Packets], product: str) -> Run | None:
    """Packets that follow each other as a run; `None` if they are to be taken one by one.

    :param line: the number of the first one's line.
    """
    if any(each.read is None for each in packets):
        return None
    run = _run(line, packets, product)
    parties = {(sender.kind, sender.whose) for sender in run.senders}
    if len(parties) < len(run.senders) or sorted(run.at_us) != run.at_us:
        return None
    return run if all(map(str.isascii, [packet.content.data for packet in run.read])) else None


def _run(line: int, packets: Sequence[Packets], product: str) -> Run:
    at_us = [at_us for each in packets for at_us in each.at_us]
    read = [packet for each in packets for packet in each.read or ()]
    return Run(line, packets, at_us, read, _senders(packets, product), product)


def _halves(packets: Packets) -> Iterator[list[Packets]]:
    assert packets.read is not None
    middle = len(packets.raws) // 2
    for part in (slice(middle), slice(middle, None)):
        raws = packets.raws[part]
        nbytes = sum(map(len, raws))
        yield [Packets(packets.channel, packets.at_us[part], raws, nbytes, read=packets.read[part])]


def _senders(packets: Sequence[Packets], product: str) -> list[Sender]:
    """The participants that sent the packets, in the order of their first ones; by the ids that they have."""
    found: dict[tuple[str, int, UserId, UserId], Sender] = {}
    for each in packets:
        channel = each.channel
        for at_us, raw, packet in zip(each.at_us, each.raws, each.read or (), strict=True):
            content = packet.content
            key = channel, packet.msg_type, content.user_id, content.channel_id
            sender = found.get(key)
            if sender is None:
                media, by_channel = MEDIA_KINDS[packet.msg_type], content.channel_id is not None
                whose = party(product, content.user_id, content.channel_id)
                sender = found[key] = Sender(channel, MEDIA_NAMES[media.media_type], whose, media, by_channel)
            sender.nbytes += len(raw)
            sender.at_us.append(at_us)
            sender.contents.append(content)
    for sender in found.values():
        sender.timestamps = [content.timestamp for content in sender.contents]
        sender.delays_us = [at - 1000 * stamp for at, stamp in zip(sender.at_us, sender.timestamps, strict=True)]
    return list(found.values())


def _is_told_by_channel(sender: Sender) -> bool:
    """Whether packets are their channel's, under a name of their own, whatever else is known."""
    name = sender.contents[0].user_name
    return sender.has_channel and name is not None and bool(name.strip())
