"""Percentiles of many numbers in little memory."""

from msgspec import Struct

_EXACT_BITS = 10
_EXACT = 1 << _EXACT_BITS


class Spread(Struct, frozen=True):
    """Percentiles (nearest rank, within 0.2 %) and the largest of some numbers."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class Quantiles:
    """Counts whole numbers in buckets: exact below 1024, 512 buckets a power of two above."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._count = 0
        self._largest = 0

    def add(self, value: int) -> None:
        """Count a number, which is not negative."""
        shift = max(0, value.bit_length() - _EXACT_BITS)
        bucket = value >> shift << shift
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._count += 1
        self._largest = max(self._largest, value)

    def add_all(self, values: list[int]) -> None:
        """Count numbers, none of which is negative."""
        if not values:
            return
        counts = self._counts
        for value in values:
            if value >= _EXACT:
                shift = value.bit_length() - _EXACT_BITS
                value = value >> shift << shift
            counts[value] = counts.get(value, 0) + 1
        self._count += len(values)
        self._largest = max(self._largest, max(values))

    def spread(self, unit: int = 1000) -> Spread | None:
        """The percentiles, divided by `unit`; `None` if nothing was counted."""
        if not self._count:
            return None
        p50, p95, p99 = (self._at(percent) / unit for percent in (50, 95, 99))
        return Spread(self._count, p50, p95, p99, self._largest / unit)

    def _at(self, percent: int) -> int:
        rank = -(-self._count * percent // 100)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return bucket
        return self._largest
