"""One channel of a session: where it stands, and which moves it may make."""

from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import MEDIA, SIGNALING
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType
from rtms_cli.session.rules import DOUBT_S, MEDIA_DEADLINE_S, SIGNALING_DEADLINE_S, SILENCE_S, US


class IllegalMoveError(RuntimeError):
    """A move that a transition table does not have: a defect of ours, never the server's doing."""


class Phase(StrEnum):
    """Where a channel stands."""

    IDLE = "idle"
    OPENING = "opening"
    SHAKING = "handshake"
    UP = "up"
    WAITING = "waiting"
    GONE = "gone"


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.IDLE: frozenset({Phase.OPENING, Phase.WAITING, Phase.GONE}),
    Phase.OPENING: frozenset({Phase.SHAKING, Phase.WAITING, Phase.IDLE, Phase.GONE}),
    Phase.SHAKING: frozenset({Phase.UP, Phase.WAITING, Phase.IDLE, Phase.GONE}),
    Phase.UP: frozenset({Phase.WAITING, Phase.IDLE, Phase.GONE}),
    Phase.WAITING: frozenset({Phase.OPENING, Phase.IDLE, Phase.GONE}),
    Phase.GONE: frozenset({Phase.OPENING, Phase.IDLE}),
}
"""Every move that a channel may make:

    IDLE ──▶ OPENING ──▶ SHAKING ──▶ UP          socket opening, handshake sent, handshake accepted
      ▲         │           │        │
      └─ WAITING ◀──────────┴────────┘           lost, or refused for now: the next try is due later
                    any ──▶ IDLE                 let go of: the end is near, or signaling is being rebuilt
                    any ──▶ GONE                 refused for good, or waited for too long
                   GONE ──▶ OPENING              a new signaling handshake asks for it again
"""


class ChannelSnapshot(Struct, frozen=True):
    """One socket as it stands, for views. Times are µs on the session's clock."""

    name: str
    phase: Phase
    since_us: int
    last_in_us: int | None
    keep_alives: int
    last_keep_alive_us: int | None
    connects: int
    close_code: int | None
    note: str
    """Why it is lost or gone, for people."""
    refused_with: int | None = None
    """The status code of the last refusal of its handshake."""


class Channel:
    """One channel's standing; the session's rules are in `Session`."""

    __slots__ = (
        "close_code",
        "connects",
        "doubt",
        "due_us",
        "duplicates",
        "early_closes",
        "has_been_up",
        "keep_alives",
        "kinds",
        "last_in_us",
        "last_keep_alive_us",
        "later_doubt",
        "lost_us",
        "name",
        "note",
        "phase",
        "refused_with",
        "since_us",
        "tries",
        "url",
        "wants_all",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.kinds = MediaType(0)
        self.wants_all = False
        """Whether everything is asked for, with the kinds that are wanted among it: the server takes nothing less."""
        self.url = ""
        self.phase = Phase.IDLE
        self.since_us = 0
        self.due_us: int | None = None
        """When the present phase has lasted too long, or the next try is due."""
        self.lost_us: int | None = None
        """Since when it has been without a working connection."""
        self.doubt: tuple[int, str] | None = None
        """When someone said late that it is lost, and how."""
        self.later_doubt: tuple[int, str] | None = None
        """The same of the last one who said so since: what was heard before that proves nothing about it."""
        self.has_been_up = False
        """Whether its handshake was ever accepted."""
        self.tries = 0
        self.connects = 0
        self.early_closes = 0
        """Closes with 1000 right after the handshake was sent, since its new life began."""
        self.duplicates = 0
        """Handshakes that were refused as a duplicate, since its new life began."""
        self.last_in_us: int | None = None
        self.keep_alives = 0
        self.last_keep_alive_us: int | None = None
        self.close_code: int | None = None
        self.note = ""
        self.refused_with: int | None = None

    @property
    def is_media(self) -> bool:
        """Whether it carries media; the other one is signaling."""
        return self.name != SIGNALING

    @property
    def asks_for_all(self) -> bool:
        """Whether its handshake asks for everything, by 32."""
        return self.name == MEDIA and (self.wants_all or self.kinds == EVERY_MEDIA)

    @property
    def has_socket(self) -> bool:
        """Whether there is a socket, or one is being opened."""
        return self.phase in (Phase.OPENING, Phase.SHAKING, Phase.UP)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being done about it: it is up, or gone for good."""
        return self.phase in (Phase.UP, Phase.GONE)

    @property
    def deadline_s(self) -> int:
        """How long the server waits for it to come back."""
        return MEDIA_DEADLINE_S if self.is_media else SIGNALING_DEADLINE_S

    def enter(self, phase: Phase, at_us: int, due_us: int | None = None) -> None:
        """Move to a phase.

        :raises IllegalMoveError: if the table does not have the move.
        """
        if phase not in PHASES[self.phase]:
            raise IllegalMoveError(f"{self.name} cannot go from {self.phase} to {phase}")
        self.phase = phase
        self.since_us = at_us
        self.due_us = due_us
        self.doubt = self.later_doubt = None

    def give_up_us(self, at_us: int) -> int:
        """When the server waits for it no longer."""
        return (at_us if self.lost_us is None else self.lost_us) + self.deadline_s * US

    def silent_us(self, heard_us: int | None) -> int | None:
        """When a connection that stays silent counts as dead.

        :param heard_us: when anything came on any channel, where life elsewhere is enough.
        """
        if self.phase is not Phase.UP:
            return None
        last_us = self.last_in_us if heard_us is None else heard_us
        return (self.since_us if last_us is None else max(last_us, self.since_us)) + SILENCE_S * US

    def suspect(self, at_us: int, how: str) -> None:
        """Note that someone said, late, that it is lost."""
        if self.doubt is None:
            self.doubt = at_us, how
        else:
            self.later_doubt = at_us, how

    def next_us(self, heard_us: int | None, *, doubts: bool) -> int | None:
        """When time alone changes something about it; see `silent_us`.

        :param doubts: whether doubts are looked into.
        """
        times = [self.due_us, self.silent_us(heard_us)]
        if doubts and self.doubt is not None:
            times.append(self.doubt[0] + DOUBT_S * US)
        return min((time for time in times if time is not None), default=None)

    def snapshot(self) -> ChannelSnapshot:
        """A copy, for views."""
        return ChannelSnapshot(
            self.name,
            self.phase,
            self.since_us,
            self.last_in_us,
            self.keep_alives,
            self.last_keep_alive_us,
            self.connects,
            self.close_code,
            self.note,
            self.refused_with,
        )
