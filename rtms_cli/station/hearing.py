"""What takes webhooks and events: a `Station`, or what stands for the stations of several processes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from rtms_cli.machine import Via
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.station.metrics import Figures, MoreFigures
from rtms_cli.station.observing import ConnectionStatus, IgnoredWebhooks, StreamSnapshot


class Hearer(Protocol):
    """See the module, and `Station` for what each of these is."""

    more_figures: list[MoreFigures]
    more_health: dict[str, Callable[[], object]]
    more_readiness: list[Callable[[], str | None]]
    statuses: list[Callable[[], ConnectionStatus]]
    hints: list[str]
    ignored: IgnoredWebhooks

    def take(self, body: bytes, webhook: Webhook, via: str = Via.HTTP) -> None:
        """Act on a webhook that was answered already."""

    def not_now(self, webhook: Webhook) -> str | None:
        """Why a webhook should be sent again later, or `None`."""

    def may_repeat(self, webhook: Webhook) -> bool:
        """Whether a webhook whose very signature came before may be acted on."""

    def notice(self, text: str) -> None:
        """Tell something that concerns no running stream."""

    def tell(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Tell something that scripts may want to know of."""

    def health(self) -> dict[str, object]:
        """What runs."""

    def not_ready(self) -> Sequence[str]:
        """Why no stream would be taken now."""

    def figures(self, answers: Mapping[int, int], free_nbytes: int | None) -> Figures:
        """All figures."""

    def snapshots(self) -> Sequence[StreamSnapshot]:
        """The streams that run."""

    def end(self, stream_id: str, who: str) -> None:
        """End one stream's session cleanly."""

    def mark(self, stream_id: str, text: str) -> None:
        """Mark this moment in one stream's events."""

    @property
    def is_stopping(self) -> bool:
        """Whether someone has asked for the end."""

    @property
    def interrupted(self) -> Sequence[str]:
        """Ids of the streams whose recordings go on when they are announced again."""

    async def stopped(self) -> None:
        """Wait until everything has ended."""
