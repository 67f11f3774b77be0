"""What the two handshakes say, and which socket carries which media (PROTOCOL §1, §4)."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from rtms_cli.machine import MEDIA
from rtms_cli.protocol.media import MEDIA_NAMES, MediaRequest, media_names
from rtms_cli.protocol.messages import MediaHandshakeRequest, Message, SignalingHandshakeRequest, Signature
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.protocol.urls import first_url, other_urls
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.session.channel import Channel


class MediaPlan(Struct, frozen=True):
    """Which media sockets to open."""

    sockets: dict[str, tuple[str, MediaType]]
    """By channel name: the URL, and the kinds to ask for there."""
    unserved: tuple[MediaType, ...]
    """Kinds that the server named no URL for."""


def kinds_wanted(request: MediaRequest) -> list[MediaType]:
    """The single kinds that a request asks for."""
    wanted = media_names(request.types)
    return [kind for kind, name in MEDIA_NAMES.items() if name in wanted]


def plan_media(kinds: Iterable[MediaType], urls: Mapping[str, str], *, split: bool) -> MediaPlan:
    """Decide which sockets carry which kinds: `all` where there is one, one for each kind where `split` asks for it."""
    sockets: dict[str, tuple[str, MediaType]] = {}
    unserved = []
    for kind in kinds:
        name = MEDIA_NAMES[kind]
        own = urls.get(name) if split or "all" not in urls else None
        channel, url = (MEDIA, urls.get("all")) if own is None else (f"{MEDIA}.{name}", own)
        if url is None:
            unserved.append(kind)
            continue
        _, carried = sockets.get(channel, ("", MediaType(0)))
        sockets[channel] = url, carried | kind
    return MediaPlan(sockets, tuple(unserved))


def usable_urls(offered: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The WebSocket URLs that a `2` offers, and what else it offers, for protocols that are not spoken here."""
    urls: dict[str, str] = {}
    others: dict[str, None] = {}
    for key, text in offered.items():
        url, unspoken = first_url(text), other_urls(text)
        if url or not unspoken:
            urls[key] = url or text
        others |= dict.fromkeys(unspoken)
    return urls, list(others)


def greeting(channel: Channel, stream: Stream, signature: Signature, request: MediaRequest, sequence: int) -> Message:
    """The handshake request of a channel that has just opened: `1` on signaling, `3` on media."""
    ids, product_ids = (stream.id, stream.stream_id, signature), stream.product_ids()
    if not channel.is_media:
        return SignalingHandshakeRequest(*ids, sequence, request.buffer_data, product_ids=product_ids)
    kinds = MediaType.ALL if channel.asks_for_all else channel.kinds
    params = request.params.only(channel.kinds)
    return MediaHandshakeRequest(*ids, kinds, params, sequence, product_ids=product_ids)
