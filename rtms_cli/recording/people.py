"""The participants of a stream: their names, when those changed, when people came and went."""

from collections.abc import Callable

from msgspec import structs

from rtms_cli.protocol.messages import Chat, EventUpdate, Media, Transcript, UserId
from rtms_cli.protocol.parties import Parties, has_joined, is_speaker_change, name_of, speaker_of
from rtms_cli.recording.manifest import Named, Participant

MOST_PARTICIPANTS = 10_000
MOST_NAMES = 100
"""Names of one participant, and of all of them together a hundred times as many: the first ones, and the newest."""
_NEWEST = "event"


class People:
    """The participants of one stream, by party.

    What calls someone by one name all the time says nothing new: who is renamed by an event keeps that name although
    their packets go on with the old one, until the packets have another.

    :param warn: takes what a person should know.
    """

    def __init__(self, product: str, warn: Callable[[str], None]) -> None:
        self._product = product
        self._warn = warn
        self.parties = Parties(product)
        self.participants: dict[UserId, Participant] = {}
        """The participants. One that came back has not left."""
        self.speaker: UserId = None
        """The active speaker, as the last event named it."""
        self._users: set[UserId] = set()
        """Those who were heard of by a user id only."""
        self._said: dict[tuple[UserId, str], str] = {}
        """The last name by who has it and who said it."""
        self._names: dict[UserId, str] = {}
        self._has_news = False
        self._renamed = 0

    def names(self) -> dict[UserId, str]:
        """Everyone's newest name; it is replaced, never changed, so that snapshots may share it."""
        if self._has_news:
            self._has_news = False
            self._names = {who: one.user_name for who, one in self.participants.items() if one.user_name}
        return self._names

    def listed(self) -> list[Participant]:
        """Everyone, with the user ids that are theirs beside a channel."""
        users = self.parties.users()
        return [
            structs.replace(one, user_ids=users[one.user_id]) if one.user_id in users else one
            for one in self.participants.values()
        ]

    def name(self, whose: UserId) -> str | None:
        """The newest name of a party."""
        known = self.participants.get(whose) or self.participants.get(self.parties.party(whose))
        return None if known is None else known.user_name

    def hear(self, message: Media | Transcript | Chat, at_us: int) -> None:
        """Take note of who sent something."""
        whose, user = self.parties.party_of(message), message.user_id
        if whose is None:
            return
        name = name_of(message, self._product)
        if name is None and user in self._users and whose != user and self.name(whose) is None:
            name = self.participants[user].user_name  # from before it was known which channel the user has
        person = self._learn(whose, name, type(message).__name__, at_us)
        if person is not None and whose == user and (isinstance(message, Chat) or message.channel_id is None):
            self._users.add(user)
        else:
            self._users.discard(whose)

    def take(self, event: EventUpdate, at_us: int) -> None:
        """Note the people in an event."""
        if is_speaker_change(event, self._product):
            speaker = speaker_of(event, self._product)
            self.speaker = None if speaker is None else speaker.party
        joined = has_joined(event, self._product)
        for who in self.parties.people_of(event):
            person = None if who.party is None else self._learn(who.party, who.name, _NEWEST, at_us)
            if person is None:
                continue
            if joined:
                person.joined, person.left = at_us / 1_000_000 if person.joined is None else person.joined, None
            elif joined is False:
                person.left = at_us / 1_000_000

    def _learn(self, whose: UserId, name: str | None, source: str, at_us: int) -> Participant | None:
        person = self.participants.get(whose)
        if person is None:
            if len(self.participants) >= MOST_PARTICIPANTS:
                self._warn(f"more than {MOST_PARTICIPANTS} participants: the others are not listed")
                return None
            person = self.participants[whose] = Participant(whose)
        if name is None:
            return person
        if self._said.get((whose, source)) != name:
            self._said[whose, source] = name
            if name != person.user_name:
                person.user_name = name
                self._has_news = True
                self._note(person, Named(name, at_us / 1_000_000))
        return person

    def _note(self, person: Participant, named: Named) -> None:
        if not person.names:
            person.names = [named]
            return
        if len(person.names) >= MOST_NAMES or self._renamed >= MOST_NAMES * MOST_NAMES:
            self._warn("participants were renamed very often: not all of their names are listed")
            person.names[-1] = named
            return
        self._renamed += 1
        person.names.append(named)
