"""What clients did with the simulated cloud."""

from msgspec import Struct

from rtms_cli.simulator.client import Finding
from rtms_cli.simulator.cloud_events import EventFigures


class CloudReport(Struct, frozen=True):
    """What clients did with the cloud, and what they did wrong."""

    tokens: int
    """Tokens that were issued."""
    calls: int
    """REST calls that succeeded."""
    refused: int
    """REST calls that failed."""
    events: EventFigures
    findings: tuple[Finding, ...]

    @property
    def mistakes(self) -> list[Finding]:
        """Return the findings that are mistakes."""
        return [finding for finding in self.findings if finding.is_wrong]
