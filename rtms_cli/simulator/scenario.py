"""A session as data: who takes part, what happens, and what goes wrong."""

from msgspec import Struct, structs

from rtms_cli.simulator.cloud_faults import CloudFaultAt
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import FaultAt
from rtms_cli.simulator.material import Material
from rtms_cli.simulator.schedule import Event, EventKind, Schedule


class Person(Struct, frozen=True):
    """Somebody who takes part."""

    user_id: int
    name: str
    channel_id: int | None = None
    """Where the product tells parties by channels; then their packets have no user id and no name."""

    @property
    def sender(self) -> tuple[int | None, str | None]:
        """User id and name, as their messages have them."""
        return (self.user_id, self.name) if self.channel_id is None else (None, None)


FIRST_ID = 16778240
PEOPLE = (Person(FIRST_ID, "John Smith"), Person(16779264, "Zoë Müller"), Person(16780288, "山田 太郎"))


class Scenario(Struct, frozen=True):
    """A session. What its events leave open is made up: everybody speaks in turn, and the first one shares a screen
    in the middle third.
    """

    seconds: float = 10.0
    people: tuple[Person, ...] = PEOPLE
    faults: tuple[FaultAt, ...] = ()
    deviations: frozenset[Deviation] = frozenset()
    events: tuple[Event, ...] = ()
    webhook_after_s: float = 0
    """How long after the start Zoom takes to say so."""
    buffered_s: float = 0
    """How much of it is over when the client is ready: that audio comes first, in a burst, if the client wants it."""
    material: Material = Material()
    """The user's own, in place of what is made up."""
    cloud_faults: tuple[CloudFaultAt, ...] = ()
    """What goes wrong in the cloud beside the session; their times count from when the cloud begins."""

    @property
    def duration_ms(self) -> int:
        """How long it is."""
        return round(self.seconds * 1000)

    def schedule(self) -> Schedule:
        """What follows from the events."""
        sounds = {who: (sound.duration_ms, sound.loud) for who, sound in enumerate(self.material.sounds)}
        filmed = None if self.material.film is None else frozenset({0})
        return Schedule(self.events, len(self.people), self.duration_ms, sounds, filmed)

    def with_material(self, material: Material) -> "Scenario":
        """The same with the user's own material: its speakers take the places of the made-up people.

        Speakers whose names are known keep their places. Without sound of their own they talk while their lines last.
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
