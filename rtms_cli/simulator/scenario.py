"""A session as data: participants, events and faults."""

from msgspec import Struct, structs

from rtms_cli.simulator.cloud_faults import CloudFaultAt
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import FaultAt
from rtms_cli.simulator.material import Material
from rtms_cli.simulator.schedule import Event, EventKind, Schedule


class Person(Struct, frozen=True):
    """A participant."""

    user_id: int
    name: str
    channel_id: int | None = None
    """The channel, if the product identifies parties by channel. Their packets then have no user id or name."""

    @property
    def sender(self) -> tuple[int | None, str | None]:
        """Return user id and name as they appear in messages."""
        return (self.user_id, self.name) if self.channel_id is None else (None, None)


FIRST_ID = 16778240
PEOPLE = (Person(FIRST_ID, "John Smith"), Person(16779264, "Zoë Müller"), Person(16780288, "山田 太郎"))


class Scenario(Struct, frozen=True):
    """A session. Anything that its events do not specify is made up: participants speak in turn, and the first one
    shares a screen during the middle third.
    """

    seconds: float = 10.0
    people: tuple[Person, ...] = PEOPLE
    faults: tuple[FaultAt, ...] = ()
    deviations: frozenset[Deviation] = frozenset()
    events: tuple[Event, ...] = ()
    webhook_after_s: float = 0
    """Delay of the started webhook, in ms."""
    buffered_s: float = 0
    """How much of the session is over when the client is ready. That audio is sent first, in a burst, if requested."""
    material: Material = Material()
    """The user's own media, which replace the made-up media."""
    cloud_faults: tuple[CloudFaultAt, ...] = ()
    """Faults of the cloud. Their times count from the start of the cloud."""

    @property
    def duration_ms(self) -> int:
        """Length in ms."""
        return round(self.seconds * 1000)

    def schedule(self) -> Schedule:
        """Return the schedule that the events define."""
        sounds = {who: (sound.duration_ms, sound.loud) for who, sound in enumerate(self.material.sounds)}
        filmed = None if self.material.film is None else frozenset({0})
        return Schedule(self.events, len(self.people), self.duration_ms, sounds, filmed)

    def with_material(self, material: Material) -> "Scenario":
        """Return a copy with the user's own media, whose speakers replace the made-up participants.

        Speakers with a known name keep their place. Without an audio file, they talk for the duration of their lines.
        """
        names = [person.name for person in self.people]
        fresh = [line.speaker for line in material.lines if line.speaker and line.speaker not in names]
        if self.events:
            names += dict.fromkeys(fresh)
        else:
            speakers = list(dict.fromkeys(fresh))
            names = speakers + names[len(speakers) :] if speakers else names
            names = names[: max(len(speakers), len(material.sounds), 1 if material.film else 0) or None]
        while len(names) < len(material.sounds):
            names.append(f"Participant {len(names) + 1}")
        known = {person.name: person.user_id for person in self.people} if self.events else {}
        people = tuple(Person(known.get(name, FIRST_ID + 1024 * number), name) for number, name in enumerate(names))
        events = list(self.events)
        for line in material.lines:
            who = names.index(line.speaker) if line.speaker else 0
            length = line.end_ms - line.start_ms
            events.append(Event(line.start_ms, EventKind.TRANSCRIPT, who, length, line.text, line.language))
            if not material.sounds:
                events.append(Event(line.start_ms, EventKind.SPEAK, who, length))
        return structs.replace(self, people=people, events=tuple(events), material=material)
