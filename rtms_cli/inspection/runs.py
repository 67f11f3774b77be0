"""Packets of a run, by who sent them: each reader of a capture takes all that one sender sent in one step."""

from collections.abc import Sequence

from msgspec import Struct

from rtms_cli.machine import Packets
from rtms_cli.protocol.messages import MEDIA_KINDS, Media


class Sent(Struct, frozen=True):
    """What one sender sent of one kind in a run."""

    message: Media
    """The first of them."""
    at_us: Sequence[int]
    """When each came; never earlier than the one before."""
    timestamps: Sequence[int]
    """Theirs, in ms."""
    letters: Sequence[str]
    """Of their base64."""
    nbytes: int
    """The sum of the messages' lengths."""
    lengths: Sequence[int | None]
    """What they say that the payloads' lengths are."""


def sent_in(packets: Packets) -> list[Sent] | None:
    """The packets of a run that was read, by sender, in the order in which they first come.

    `None` where the order of all of them may matter: somebody's name changes, or a packet came before the one before.
    """
    at_us, read = packets.at_us, packets.read
    if read is None or sorted(at_us) != at_us:
        return None
    senders: dict[tuple[object, ...], list[int]] = {}
    for place, packet in enumerate(read):
        content = packet.content
        sender = packet.msg_type, content.user_id, content.channel_id, content.user_name
        places = senders.get(sender)
        if places is None:
            senders[sender] = [place]
        else:
            places.append(place)
    if len({sender[:3] for sender in senders}) < len(senders):
        return None
    return [_sent(packets, places) for places in senders.values()]


def _sent(packets: Packets, places: list[int]) -> Sent:
    assert packets.read is not None
    read = [packets.read[place] for place in places]
    contents = [packet.content for packet in read]
    first = contents[0]
    return Sent(
        MEDIA_KINDS[read[0].msg_type](
            first.user_id, first.user_name, first.timestamp, first.data, first.length, first.channel_id
        ),
        [packets.at_us[place] for place in places],
        [content.timestamp for content in contents],
        [content.data for content in contents],
        sum([len(packets.raws[place]) for place in places]),
        [content.length for content in contents],
    )
