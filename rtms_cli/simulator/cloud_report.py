"""What clients did with the stand-in's cloud."""

from msgspec import Struct

from rtms_cli.simulator.client import Finding
from rtms_cli.simulator.cloud_events import EventFigures


class CloudReport(Struct, frozen=True):
    """What clients did with the cloud, and what they did wrong."""

    tokens: int
    """That were given out."""
    calls: int
    """REST calls that were answered with success."""
    refused: int
    """REST calls that were not."""
    events: EventFigures
    findings: tuple[Finding, ...]

    @property
    def mistakes(self) -> list[Finding]:
        """The findings that a server would mind."""
        return [finding for finding in self.findings if finding.is_wrong]
