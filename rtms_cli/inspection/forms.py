"""Ways of writing a message that PROTOCOL §4 tolerates but does not document, and channels it does not belong on."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rtms_cli.machine import MEDIA, SIGNALING
from rtms_cli.protocol.fields import TIME, Nested
from rtms_cli.protocol.messages import DEFINITIONS, Audio, Media
from rtms_cli.protocol.numbers import Codec, MessageType
from rtms_cli.protocol.times import unit


def odd_forms(body: Mapping[str, object]) -> Iterator[str]:
    """What is written in another way than documented: `state is text ("ACTIVE"), not a number`."""
    kind = MessageType.find(body.get("msg_type"))
    if kind not in DEFINITIONS:
        return
    if isinstance(body["msg_type"], str):
        yield f"msg_type {_not_a_number(body['msg_type'])}"
    for place in DEFINITIONS[kind].shape.walk(body):
        key = place.key
        if isinstance(key, Nested) and isinstance(place.value, str):
            yield f"{place.path} is text, and its fields stand beside it"
        elif place.outside and not isinstance(body.get(place.outside), str):
            yield f"{place.path} stands outside {place.outside}"
        elif key is not None and place.name in key.odd:
            yield f"{place.path} stands for {key.key}"
        if key is not None and key.kind.is_number and isinstance(place.value, str):
            yield f"{place.path} {_not_a_number(place.value)}"
        elif key is not None and key.kind is TIME and isinstance(place.value, int | float):
            found = unit(place.value)
            if found not in ("", "ms"):
                yield f"{place.path} {place.value} is in {found}, not in ms"
            elif isinstance(place.value, float):
                yield f"{place.path} {place.value} is not a whole number"


class PacketForms:
    """The forms of media packets that have been told of: the same keys in the same places say nothing new."""

    def __init__(self) -> None:
        self._known: set[tuple[object, ...]] = set()

    def are_known(self, raws: Sequence[bytes]) -> bool:
        """Whether there is nothing to report about the forms of packets that `read_packets` reads."""
        try:
            return self._known.issuperset([_form_of(msgspec.json.decode(raw)) for raw in raws])
        except msgspec.MsgspecError:
            return False

    def learn(self, body: object) -> None:
        """Take note of a packet that was told of."""
        form = _form_of(body)
        if form and len(self._known) < _MOST_FORMS:
            self._known.add(form)


_MOST_FORMS = 1_000
_LONGEST_FORM = 1_000


def _form_of(body: object) -> tuple[object, ...]:
    """What the forms of a packet depend on whose documented fields `read_packets` can read; else empty.

    Those fields are of the right types then, so it is the keys alone, unless there is more inside of what they hold.
    """
    content = body.get("content") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(content, dict):
        return ()
    inside = [value for value in (*body.values(), *content.values()) if isinstance(value, dict | list)]
    if len(inside) > 1 or sum(map(len, (*body, *content))) > _LONGEST_FORM:
        return ()
    return body["msg_type"], *body, None, *content


def wrong_channel(kind: int | str | None, channel: str) -> str | None:
    """Which channel a message type belongs on, where this one is another."""
    known = DEFINITIONS.get(kind) if isinstance(kind, int) else None
    if known is None or known.route.socket in ("both", SIGNALING if channel == SIGNALING else MEDIA):
        return None
    return "a media channel" if channel == SIGNALING else SIGNALING


def bad_payload(message: Media, codec: int | None) -> str | None:
    """What is wrong with a packet's payload: no base64, another length than it says, half a sample.

    :param codec: what was granted for sound.
    """
    payload = message.payload()
    if payload is None:
        return "its data is not base64"
    if isinstance(message, Audio) and codec == Codec.L16 and len(payload) % 2:
        return f"{len(payload)} bytes are not a whole number of 16-bit samples"
    if message.length is not None and message.length != len(payload):
        return f"length says {message.length}, the payload has {len(payload)} bytes"
    return None


def _not_a_number(text: str) -> str:
    return f'is text ("{text[:40]}"), not a number'
