"""Which participant a message belongs to, and their name: the one place that knows (PROTOCOL §5, §6).

A party is a participant, by the id that its product tells participants by: `channel_id` in Contact Center and Phone,
where 0 is a party like any other, and `user_id` elsewhere. `None` is nobody in particular: everyone's mixed sound, or
a line that does not say who it comes from.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping

from msgspec import Struct

from rtms_cli.protocol.fields import UserId, name_or_none, user_id
from rtms_cli.protocol.messages import Chat, EventUpdate, Media, Transcript
from rtms_cli.protocol.numbers import ContactCenterEvent, MeetingEvent, Product, event_name

BY_CHANNEL = frozenset((Product.CONTACT_CENTER, Product.PHONE))
"""The products that identify parties by `channel_id`."""
MOST_PEOPLE = 10_000
"""How many people one event can mention."""
LONGEST_NAME = 200
"""Letters of a name that are shown, and kept beside the capture."""
_MOST_OBJECTS = 1_000
_HOLDERS = ("participants", "participant_info", "paticipant_info")
"""Where events mention people, at any depth; the last is the spelling of Zoom's own sample."""
_IDS = ("user_id", "channel_id")
_NAMES = ("display_name", "user_name", "name")
_BETWEEN = r"\s()\[\]./_\u00ad\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060-\u2069\u2212\uff0d-"
"""What stands between the digits of a phone number, in a class: every kind of blank and dash, and what is not seen."""
_NUMBER_IN_NAME = re.compile(rf"[+\uff0b]\d(?:[{_BETWEEN}]{{0,3}}\d){{6,}}|\d(?:[{_BETWEEN}]{{0,3}}\d){{9,}}")
_PHONE_NUMBER = re.compile(rf"[+\uff0b*#{_BETWEEN}]*(?:\d[+*#{_BETWEEN}]*){{7,}}")
_JOINED = frozenset(
    (
        MeetingEvent.PARTICIPANT_JOIN.name,
        ContactCenterEvent.CONSUMER_ANSWERED.name,
        ContactCenterEvent.USER_ANSWERED.name,
    )
)
_LEFT = frozenset(
    (
        MeetingEvent.PARTICIPANT_LEAVE.name,
        ContactCenterEvent.CONSUMER_END.name,
        ContactCenterEvent.USER_END.name,
        ContactCenterEvent.CONFERENCE_PARTICIPANT_LEFT.name,
    )
)


class Mention(Struct, frozen=True):
    """A person in an event. A person with only a name has no party, because ids identify parties."""

    party: UserId
    name: str | None = None
    user_id: UserId = None
    """The user id that a party has beside its channel."""


class Parties:
    """The people in one stream.

    Where parties are told by channel, events say which user has which, and so does what has both ids. What has only
    the user's id then belongs to that channel's party. An id that was told of two channels belongs to neither. A
    channel may pass from one person to another.
    """

    def __init__(self, product: str) -> None:
        self.product = product
        self._channels: dict[UserId, UserId] = {}
        self._names: dict[UserId, list[tuple[int, str]]] = {}
        self._named = 0

    def people_of(self, event: EventUpdate) -> list[Mention]:
        """Everyone in an event; see `people_of`."""
        people = people_of(event, self.product)
        for who in people:
            self.tie(who.user_id, who.party)
            if self.product in BY_CHANNEL and who.party is not None and who.name and event.timestamp is not None:
                names = self._names.get(who.party, ())
                if self._named < MOST_PEOPLE and (not names or names[-1][1] != who.name):
                    self._named += 1
                    self._names.setdefault(who.party, []).append((event.timestamp, who.name))
        return people

    def name_at(self, whose: UserId, time_ms: int | None) -> str | None:
        """What a channel's party was called at a time of Zoom's clock; before its first name, that one."""
        names = self._names.get(whose)
        if not names or time_ms is None:
            return None
        return max((one for one in names if one[0] <= time_ms), default=min(names))[1]

    def tie(self, user: UserId, channel: UserId) -> None:
        """Take note of which channel a user has, where parties are told by channel."""
        if self.product not in BY_CHANNEL or user in (None, "", 0, channel) or channel in (None, ""):
            return
        if user in self._channels or len(self._channels) < MOST_PEOPLE:
            known = self._channels.setdefault(user, channel)
            self._channels[user] = known if known == channel else None

    def users(self) -> dict[UserId, list[UserId]]:
        """The users of each channel that are told of no other."""
        found: dict[UserId, list[UserId]] = {}
        for user, channel in self._channels.items():
            if channel is not None:
                found.setdefault(channel, []).append(user)
        return found

    def party(self, user: UserId, channel: UserId = None) -> UserId:
        """Whose a line is that has these ids; two ids say which user has which channel."""
        self.tie(user, channel)
        whose = party(self.product, user, channel)
        tied = None if is_by_channel(self.product, user, channel) else self._channels.get(whose)
        return whose if tied is None else tied

    def party_of(self, message: Media | Transcript | Chat) -> UserId:
        """Whose media or text a message is."""
        return self.party(message.user_id, None if isinstance(message, Chat) else message.channel_id)


def is_by_channel(product: str, user: UserId, channel: UserId) -> bool:
    """Whether it is `channel_id` that tells whose something is: by the product, or because nothing else does."""
    if channel is None or channel == "":
        return False
    return product in BY_CHANNEL or user is None or user == "" or (user == 0 and channel != 0)


def party(product: str, user: UserId, channel: UserId = None) -> UserId:
    """Whose something is that has these ids."""
    return channel if is_by_channel(product, user, channel) else user or None


def party_of(message: Media | Transcript | Chat, product: str) -> UserId:
    """Whose media or text a message is."""
    return party(product, message.user_id, None if isinstance(message, Chat) else message.channel_id)


def name_of(message: Media | Transcript | Chat, product: str) -> str | None:
    """What a message calls its sender, where it does."""
    return shown_name(product, message.user_name)


def label(product: str, whose: UserId, name: str | None = None) -> str:
    """A party as people read it: its name, or else its id."""
    if name:
        return name
    return "" if whose is None else f"channel {whose}" if product in BY_CHANNEL else str(whose)


def shown_name(product: str, name: str | None) -> str | None:
    """A name as it may be shown: cut where it is very long, and of a phone number only the last digits."""
    if not name or not name.strip():
        return None
    if product in BY_CHANNEL:
        if _PHONE_NUMBER.fullmatch(name):
            return _last_digits(name)
        name = _NUMBER_IN_NAME.sub(lambda found: _last_digits(found[0]), name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def event_label(event: EventUpdate, product: str) -> str:
    """An event as people read it: its type's name, or else its `event_code`, whose numbers aren't public."""
    code = name_or_none(event.fields.get("event_code"))
    if event.event_type is None and code is not None:
        return f"event code {code}"
    return event_name(Product(product) if product in tuple(Product) else Product.MEETING, event.event_type)


def people_of(event: EventUpdate, product: str) -> list[Mention]:
    """Everyone in an event, each once, whatever its shape."""
    found: dict[object, Mention] = {}
    for who in _mentions(event.fields, product):
        key = who.name if who.party is None else (type(who.party), who.party)
        known = found.get(key)
        if known is None or not known.name:
            found[key] = who
        if len(found) >= MOST_PEOPLE:
            break
    return list(found.values())


def speaker_of(event: EventUpdate, product: str) -> Mention | None:
    """The new active speaker, by ACTIVE_SPEAKER_CHANGE."""
    return next(iter(people_of(event, product)), None)


def is_speaker_change(event: EventUpdate, product: str) -> bool:
    """Whether an event says who speaks."""
    return event_label(event, product) == MeetingEvent.ACTIVE_SPEAKER_CHANGE.name


def has_joined(event: EventUpdate, product: str) -> bool | None:
    """Whether the people in an event have come (true) or gone (false)."""
    return tells_of_joining(event_label(event, product))


def tells_of_joining(name: object) -> bool | None:
    """The same of an event's name, as events.jsonl has it."""
    return True if name in _JOINED else False if name in _LEFT else None


def without_phone_numbers(value: object) -> object:
    """A JSON value as it may be shown: phone numbers are personal."""
    if isinstance(value, Mapping):
        number = _digits(name_or_none(value.get("phone_number")) or "")
        return {
            key: "[phone number]"
            if number and _digits(name_or_none(inner) or "") == number
            else without_phone_numbers(inner)
            for key, inner in value.items()
        }
    return [without_phone_numbers(inner) for inner in value] if isinstance(value, list) else value


def _mentions(fields: Mapping[str, object], product: str) -> Iterator[Mention]:
    """People in the holders, at any depth, or else in the event's own fields."""
    waiting: deque[object] = deque((fields,))
    has_holder = False
    for _ in range(_MOST_OBJECTS):
        if not waiting:
            break
        inside = waiting.popleft()
        if not isinstance(inside, Mapping):
            waiting.extend(inside if isinstance(inside, list) else ())
            continue
        for key, value in inside.items():
            if key in _HOLDERS:
                has_holder = True
                yield from _held(value, product)
            elif isinstance(value, Mapping | list) and len(waiting) < _MOST_OBJECTS:
                waiting.append(value)
    if not has_holder and (who := _person(fields, product)) is not None:
        yield who


def _held(value: object, product: str) -> Iterator[Mention]:
    """People in a holder: an object, an object by ids, or a list of objects, ids or names."""
    if isinstance(value, list):
        for one in value:
            if not isinstance(one, list):
                yield from _held(one, product)
    elif not isinstance(value, Mapping):
        number = None if isinstance(value, bool) else user_id(value)
        if isinstance(number, int) and (whose := _own(product, number)) is not None:
            yield Mention(whose)
        elif isinstance(value, str) and (name := shown_name(product, value)):
            yield Mention(None, name)
    elif any(key in value for key in (*_IDS, *_NAMES)):
        if (who := _person(value, product)) is not None:
            yield who
    else:
        for key, one in value.items():
            number = user_id(key)
            if isinstance(number, int):
                own = {"channel_id" if product in BY_CHANNEL else "user_id": number}
                who = _person(own | (dict(one) if isinstance(one, Mapping) else {"user_name": one}), product)
                if who is not None:
                    yield who


def _own(product: str, number: UserId) -> UserId:
    """A party by an id that stands alone."""
    return party(product, None, number) if product in BY_CHANNEL else party(product, number)


def _person(given: Mapping[str, object], product: str) -> Mention | None:
    user = user_id(given.get("user_id"))
    whose = party(product, user, user_id(given.get("channel_id")))
    name = next(filter(None, (name_or_none(given.get(key)) for key in _NAMES)), None)
    number = name_or_none(given.get("phone_number"))
    if name and number and len(_digits(number)) > 2 and _digits(name) == _digits(number):
        name = _last_digits(number)  # a personal number, which must not be a name
    name = shown_name(product, name)
    other = user if product in BY_CHANNEL and user not in (None, "", 0, whose) else None
    return None if whose is None and name is None else Mention(whose, name, other)


def _last_digits(number: str) -> str:
    """What is shown of a phone number."""
    return f"number ending in {_digits(number)[-2:]}"


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
