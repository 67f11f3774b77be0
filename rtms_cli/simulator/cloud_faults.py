"""Deliberate faults of the simulated cloud (PROTOCOL §11, §12).

Times count from the start of the cloud, not of a session, because most faults happen before a session starts.
"""

from enum import StrEnum

from msgspec import Struct


class CloudFault(StrEnum):
    """A one-time fault."""

    TOKEN_EXPIRES = "token-expires"  # noqa: S105  # a fault
    """All issued tokens expire now. Event connections that use one are closed with 1008."""
    EVENTS_DROP = "events-drop"
    """The event connections break, and none is accepted for `number` ms. Events in that time are lost."""
    EVENTS_DELAY = "events-delay"
    """From now on, each event arrives `number` ms late."""
    EVENTS_SILENCE = "events-silence"
    """The event connections die silently: they stay open, but nothing arrives any more."""
    SECOND_SUBSCRIBER = "second-subscriber"
    """Another client connects to each subscription, which closes the client's connection. It connects `times` times,
    each time after the client has reconnected."""
    REST_ERROR = "rest-error"
    """The next `times` REST calls fail with the error in `number`: one of Zoom's codes, or an HTTP status."""


class CloudFaultAt(Struct, frozen=True):
    """A fault and its time. A negative `at_ms` means at once."""

    at_ms: int
    kind: CloudFault
    number: int = 0
    times: int = 1
