"""What is subscribed to, so that an event that a server does not have costs none of the others (PROTOCOL §6).

How a refusal is answered is not public: a status 5, 6 or 42 in any message on signaling counts as one, and so does a
socket that is closed right after the `5`.
"""

from rtms_cli.protocol.messages import (
    EventSubscription,
    EventUpdate,
    Message,
    SignalingHandshakeResponse,
    Unknown,
    text_or_none,
)
from rtms_cli.protocol.numbers import Product, StatusCode
from rtms_cli.session.rules import EVENTS_REFUSED, SUBSCRIBED_S, US, events_to_subscribe, explain_refusal, first_events

_ON_PURPOSE = frozenset((1000, 1002, 1003, 1007, 1008, 1011))
"""Close codes of a server that was not lost, and does not go away."""


class Subscriptions:
    """The event subscriptions of a session, over all its signaling connections."""

    def __init__(self, product: Product) -> None:
        self._events = events_to_subscribe(product)
        self._first = first_events(product)
        self._one_by_one = False
        self._sent_us: int | None = None
        """When they were sent on this connection, which has not refused them."""

    def ask(self, at_us: int) -> list[EventSubscription]:
        """What to send on a new signaling connection."""
        self._sent_us = at_us
        lists = [[event] for event in self._events] if self._one_by_one else [self._events] if self._events else []
        return [EventSubscription(tuple((event, True) for event in events)) for events in lists]

    def refused(self, message: Message, at_us: int) -> tuple[str, list[EventSubscription]] | None:
        """What to tell, and to send instead, where a message refuses what was sent; `None` if it does not."""
        status, reason = _answer(message)
        if self._sent_us is None or not (status in EVENTS_REFUSED or isinstance(message, EventSubscription)):
            return None
        if status in (None, StatusCode.STATUS_OK):
            return None
        why = explain_refusal(status, reason)
        if self._one_by_one:
            return f"an event is not sent: {why}", []
        self._one_by_one = True
        return f"events are rejected: {why} Requesting them one by one", self.ask(at_us)

    def closed(self, at_us: int, code: int | None) -> str:
        """Take note of a signaling socket that was closed.

        :returns: what to tell; empty if it is not for the events.
        """
        sent_us, self._sent_us = self._sent_us, None
        if sent_us is None or code not in _ON_PURPOSE or at_us - sent_us > SUBSCRIBED_S * US:
            return ""
        if not self._events:
            return ""
        self._events = self._first if len(self._events) > len(self._first) else ()
        what = "without the newest ones" if self._events else "without events"
        return f"closed with {code} right after the events were asked for: next time {what}"


def _answer(message: Message) -> tuple[int | None, str]:
    match message:
        case SignalingHandshakeResponse(status_code=status, reason=reason):
            return status, reason
        case EventSubscription(status_code=status, reason=reason):
            return status, reason or ""
        case EventUpdate(fields=fields) | Unknown(fields=fields):
            given = fields.get("status_code")
            is_event = isinstance(message, EventUpdate) and (message.event_type is not None or "event_code" in fields)
            if given is None and not is_event:
                given = fields.get("status")  # an event has one of its own: that of a chat group's member
            return StatusCode.find(given), text_or_none(fields.get("reason")) or ""
        case _:
            return None, ""
