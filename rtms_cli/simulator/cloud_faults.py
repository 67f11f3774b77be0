"""What goes wrong on purpose in the stand-in's cloud (PROTOCOL §11, §12).

Times count from when the cloud began, not from a session's start: most of these happen before there is a session.
"""

from enum import StrEnum

from msgspec import Struct


class CloudFault(StrEnum):
    """Something that happens once."""

    TOKEN_EXPIRES = "token-expires"  # noqa: S105  # a fault
    """Every token that was given out is worth nothing from now on; event connections that use one are closed, 1008."""
    EVENTS_DROP = "events-drop"
    """The event connections break, and none is accepted for `number` milliseconds; what happens meanwhile is lost."""
    EVENTS_DELAY = "events-delay"
    """From now on each event comes `number` milliseconds after it happened."""
    EVENTS_SILENCE = "events-silence"
    """The event connections die without a word: they stay open, and nothing comes any more."""
    SECOND_SUBSCRIBER = "second-subscriber"
    """Somebody else connects to each subscription, which closes the client's connection. With `times` above 1 they
    come back as often, each time when the client has taken the subscription back."""
    REST_ERROR = "rest-error"
    """The next REST calls, `times` of them, are answered with the error in `number`: one of Zoom's, or an HTTP
    status."""


class CloudFaultAt(Struct, frozen=True):
    """A fault, and when it happens; at once where `at_ms` is negative."""

    at_ms: int
    kind: CloudFault
    number: int = 0
    times: int = 1
