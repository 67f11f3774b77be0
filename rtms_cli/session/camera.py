"""Whose camera to watch, where a session asks for one participant's video (`data_opt` 4, PROTOCOL §5)."""

from rtms_cli.protocol.messages import EventUpdate, UserId, user_id
from rtms_cli.protocol.numbers import MeetingEvent, Product
from rtms_cli.protocol.parties import event_label, people_of

FIRST = "first"
"""Any camera that is on; the next one when it goes off."""
_MOST = 10_000
_ON = MeetingEvent.PARTICIPANT_VIDEO_ON.name
_CAMERA_EVENTS = (_ON, MeetingEvent.PARTICIPANT_VIDEO_OFF.name, MeetingEvent.PARTICIPANT_LEAVE.name)


class Camera:
    """Follows what events say, and decides what to subscribe to.

    :param wanted: a user id, a name or a part of one, or `first`.
    :param product: says how events identify people.
    """

    def __init__(self, wanted: str, product: Product) -> None:
        self._product = product
        self._wanted = wanted
        number = user_id(wanted.strip())
        self._id = number if isinstance(number, int) else None
        self._names: dict[UserId, str] = {}
        self._on: dict[UserId, None] = {}
        self._off: set[UserId] = set()
        self._watched: UserId = None

    def take(self, event: EventUpdate) -> None:
        """Follow an event."""
        what = event_label(event, self._product)
        for who in people_of(event, self._product):
            if who.party is None:
                continue
            if who.name:
                self.name(who.party, who.name)
            if what in _CAMERA_EVENTS:
                self.switch(who.party, on=what == _ON)

    def name(self, user: UserId, name: str) -> None:
        """Someone is called so."""
        if user in self._names or len(self._names) < _MOST:
            self._names[user] = name

    def switch(self, user: UserId, *, on: bool) -> None:
        """A camera went on or off, or its owner left."""
        self._on.pop(user, None)
        self._off.discard(user)
        if on and len(self._on) < _MOST:
            self._on[user] = None
        elif not on and len(self._off) < _MOST:
            self._off.add(user)

    def forget(self) -> None:
        """A new connection knows of no subscription."""
        self._watched = None

    def moves(self) -> list[tuple[UserId, bool]]:
        """What to subscribe to (true) and what to give up, so that the right camera is watched."""
        target = self._target()
        if target == self._watched:
            return []
        moves: list[tuple[UserId, bool]] = [] if self._watched is None else [(self._watched, False)]
        if target is not None:
            moves.append((target, True))
        self._watched = target
        return moves

    def _target(self) -> UserId:
        if self._wanted == FIRST:
            return self._watched if self._watched in self._on else next(iter(self._on), None)
        if self._id is not None:
            return None if self._id in self._off else self._id
        sought = self._wanted.casefold()
        named = [user for user, name in self._names.items() if sought in name.casefold() and user not in self._off]
        exact = [user for user in named if self._names[user].casefold() == sought]
        return self._watched if self._watched in named else next(iter(exact or named), None)
