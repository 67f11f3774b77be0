"""The dispatch on Redis Streams, for any number of machines. The rules are in `scripts`.

Each call is one atomic script with a time limit. Answers are not trusted, because others may write to the server.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import msgspec
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rtms_cli.errors import Exit, Problem, reason_of
from rtms_cli.fleet import scripts
from rtms_cli.fleet.dispatch import (
    KEPT_S,
    LEASE_S,
    MOST_NEWS,
    RECORDING,
    RENEW_S,
    Claim,
    DispatchError,
    Facts,
    Finished,
    FleetReport,
    FleetStream,
    FleetWorker,
    Happening,
    Held,
    News,
    Offered,
    Renewed,
    WorkerStatus,
    facts_of,
)
from rtms_cli.fleet.queues import PASSWORD, USER, QueueUrl
from rtms_cli.machine import Via
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import Webhook, read_webhook
from rtms_cli.recording.names import unique_name

log = logging.getLogger(__name__)

CALL_S = 2.0
"""Time limit of a call. Zoom waits 3 s for the answer to a webhook."""
OLDEST = (6, 2)
"""The oldest Redis version that supports the scripts."""
MOST_CALLS = 16
"""Concurrent calls, each with a connection. Further calls wait."""
MOST_SHOWN = 2000
"""How many streams a report lists."""
_STAMP = len("20261128T061500Z")

_T = TypeVar("_T")
_status = msgspec.json.Decoder(WorkerStatus)
_happening = msgspec.json.Decoder(tuple[str, str, int, str, str])
_VIAS = frozenset(Via)


class RedisDispatch:
    """See the module and `dispatch.Dispatch`.

    :param lease_s: see `LEASE_S`.
    :param warn: called with warnings about a server that still works.
    """

    def __init__(self, where: QueueUrl, lease_s: float = LEASE_S, warn: Callable[[str], None] | None = None) -> None:
        self._where = where
        self._prefix = f"{{{where.prefix}}}:"
        self._limits = [int(1000 * lease_s), int(1000 * RENEW_S), int(1000 * KEPT_S), MOST_NEWS]
        self._redis = _client(where, CALL_S)
        self._waiter = _client(where, None)
        """Waits for news on its own connection, because that call blocks."""
        self._scripts = {
            name: self._redis.register_script(scripts.COMMON + getattr(scripts, name))
            for name in ("OFFER", "TAKE", "RENEW", "RESTORE", "FINISH", "RELEASE", "LEAVE", "REPORT", "DRAIN")
        }
        self._bells: dict[str, bytes] = {}
        """The last known data, by stream."""
        self._places = asyncio.Semaphore(MOST_CALLS)
        self._is_checked = False
        self._warn = warn or log.warning

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        """See `Dispatch`."""
        facts = facts_of(webhook)
        if not facts.kind:
            return Offered.UNKNOWN
        created, stamp, tail = _name_of(facts)
        return await self._run(
            _offered,
            "OFFER",
            facts.kind,
            facts.stream_id,
            _optional(facts.event_ts),
            facts.urls,
            int(facts.is_revoked),
            via if via in _VIAS else Via.HTTP,
            body,
            created,
            stamp,
            tail,
        )

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        """See `Dispatch`."""
        return await self._run(_claims, "TAKE", status.worker, msgspec.json.encode(status), status.free, most)

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        """See `Dispatch`."""
        arguments: list[str | int] = []
        for stream_id, one in held.items():
            arguments += [stream_id, one.epoch, one.seen, one.state]

        def read(said: Any) -> Renewed:
            lost, unknown, news, drain = said
            fresh = {_text(stream_id): _news(lines) for stream_id, lines in news}
            unseen = {
                stream_id: tuple(one for one in lines if one.number > held[stream_id].seen)
                for stream_id, lines in fresh.items()
                if stream_id in held
            }
            return Renewed(tuple(map(_text, lost)), tuple(map(_text, unknown)), unseen, bool(drain))

        about = msgspec.json.encode(status)
        return await self._run(read, "RENEW", status.worker, about, status.free, len(held), *arguments)

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        """See `Dispatch`."""
        start, number, via, more, product = Facts(""), 0, Via.HTTP.value, list[bytes](), ""
        for one in claim.news:
            facts = facts_of(read_webhook(one.body))
            product = facts.product or product
            more.append(b"n%d %b %b" % (one.number, one.via.encode(), one.body))
            if facts.kind == "start":
                start, number, via = facts, one.number, one.via
            elif facts.kind:
                more.append(f"t{facts.kind}:{_optional(facts.event_ts)}".encode())
        return await self._run(
            bool,
            "RESTORE",
            status.worker,
            msgspec.json.encode(status),
            status.free,
            claim.stream_id,
            claim.epoch,
            held.state,
            claim.recording,
            claim.created,
            unique_name(claim.created, product, claim.stream_id)[_STAMP:],
            _optional(start.event_ts),
            start.urls,
            number,
            via if via in _VIAS else Via.HTTP,
            max((one.number for one in claim.news), default=0),
            *more,
        )

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        """See `Dispatch`."""
        created = _created()
        stamp = unique_name(created, "x", "x")[:_STAMP]
        return await self._run(_finished, "FINISH", worker, stream_id, held.epoch, held.seen, status, created, stamp)

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        """See `Dispatch`."""
        return await self._run(bool, "RELEASE", worker, stream_id, held.epoch, held.seen, int(1000 * after_s), why)

    async def leave(self, worker: str) -> None:
        """See `Dispatch`."""
        await self._run(bool, "LEAVE", worker)

    async def changed(self, worker: str, timeout_s: float) -> None:
        """See `Dispatch`."""
        bell = f"{self._prefix}bell:{worker}"
        seen: dict[Any, Any] = {bell: self._bells.get(bell, b"0-0")}
        wait_ms = max(1, int(1000 * timeout_s))
        rung: Any = await self._call(lambda: self._waiter.xread(seen, block=wait_ms), timeout_s + CALL_S, nullcontext())
        for _, entries in rung or ():
            self._bells[bell] = entries[-1][0]

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        """See `Dispatch`."""

        def read(said: Any) -> FleetReport:
            workers, streams, waiting, _ = said
            known = tuple(worker for one in workers if (worker := _worker(*one)) is not None)
            alive = [one for one in known if one.silent_ms < self._limits[0] and not one.drain]
            free = sum(one.status.free for one in alive)
            return FleetReport(known, tuple(_stream(*one) for one in streams), int(waiting), free)

        return await self._run(read, "REPORT", MOST_SHOWN if with_streams else 0)

    async def history(self, stream_id: str) -> Sequence[Happening]:
        """See `Dispatch`."""
        lines: Any = await self._call(
            lambda: cast("Awaitable[Any]", self._redis.lrange(self._key("h", stream_id), 0, -1))
        )
        return [one for line in lines if (one := _read_happening(line)) is not None]

    async def drain(self, worker: str) -> bool:
        """See `Dispatch`."""
        return await self._run(bool, "DRAIN", worker)

    async def close(self) -> None:
        """See `Dispatch`."""
        for client in (self._redis, self._waiter):
            await client.aclose()

    def _key(self, kind: str, stream_id: str) -> bytes:
        return f"{self._prefix}{kind}:".encode() + _argument(stream_id)

    async def _run(self, read: Callable[[Any], _T], name: str, *arguments: str | bytes | float) -> _T:
        """Run a script.

        :param read: converts its answer to the result.
        """
        if not self._is_checked:
            await self._check()
        given = [_argument(one) if isinstance(one, str) else one for one in arguments]
        said = await self._call(lambda: self._scripts[name](keys=[self._prefix], args=[*self._limits, *given]))
        try:
            return read(said)
        except (AttributeError, TypeError, ValueError):  # another program has written there
            what = f"The queue at {self._where.shown} contains foreign data."
            raise DispatchError(what, "Use a different ?prefix=.", Exit.REFUSED) from None

    async def _call(
        self,
        call: Callable[[], Awaitable[_T]],
        timeout_s: float = CALL_S,
        places: AbstractAsyncContextManager[object] | None = None,
    ) -> _T:
        try:
            async with asyncio.timeout(timeout_s), places or self._places:
                return await call()
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            what = f"The queue at {self._where.shown} {_in_words(error)}."
            raise DispatchError(what, exit_code=Exit.REFUSED) from None

    async def _check(self) -> None:
        """Check that the server supports what we need.

        :raises Problem: if it does not.
        """
        try:
            info = await self._call(lambda: self._redis.info("everything"))
        except DispatchError as error:
            if isinstance(error.__cause__ or error.__context__, exceptions.NoPermissionError):
                self._is_checked = True
                return
            raise
        if too_old := _too_old(str(info.get("redis_version", ""))):
            what = f"The queue at {self._where.shown} is Redis {too_old}."
            raise Problem(what, f"Redis {OLDEST[0]}.{OLDEST[1]} or newer is needed, or Valkey.")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and info.get("maxmemory"):
            self._warn(
                f"the queue's maxmemory-policy is {_printable(str(policy))}: it may forget streams; set noeviction"
            )
        self._is_checked = True


def _client(where: QueueUrl, timeout_s: float | None) -> "Redis":
    import os

    from rtms_cli.fleet.queues import CA_FILE

    more: dict[str, Any] = {}
    if where.scheme == "unix":
        more["unix_socket_path"] = where.path
    else:
        more |= {"host": where.host, "port": where.port}
    if where.scheme == "rediss":
        more |= {"ssl": True, "ssl_check_hostname": True}
        if ca_file := os.environ.get(CA_FILE):
            more["ssl_ca_certs"] = ca_file
    return Redis(
        db=where.database,
        username=where.user or None,
        password=str(where.password) or None,
        socket_connect_timeout=CALL_S,
        socket_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # makes the form of answers independent of the client's version
        **more,
    )


def _too_old(version: str) -> str:
    """Return the version if it is too old; empty if it is not, or cannot be parsed."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return version[:20] if numbers and numbers < OLDEST else ""


def _in_words(error: Exception) -> str:
    """Describe an error, as a phrase that follows the queue's name."""
    match error:
        case exceptions.AuthenticationError() | exceptions.NoPermissionError():
            return f"denies access: check {USER} and {PASSWORD}, or the user's permissions"
        case exceptions.BusyLoadingError():
            return "is still loading its data"
        case exceptions.ReadOnlyError():
            return "is a read-only replica"
        case exceptions.OutOfMemoryError():
            return "is full (maxmemory)"
        case TimeoutError() | exceptions.TimeoutError():
            return f"did not answer within {CALL_S:.0f} s"
        case exceptions.ConnectionError() | OSError():
            said = reason_of(error)
            return f"cannot be reached: {_printable(said)}"
        case _:
            return f"refuses a command: {_printable(str(error))}"


def _printable(text: str) -> str:
    line = " ".join(text.split())[:200].rstrip(".")
    return line if line.isprintable() else ascii(line)[1:-1]


def _created() -> str:
    return iso_time(datetime.now(UTC))


def _name_of(facts: Facts) -> tuple[str, str, str]:
    """Return the creation time of a new recording, the timestamp for its name, and the rest of the name."""
    created = _created()
    name = unique_name(created, facts.product, facts.stream_id)
    return created, name[:_STAMP], name[_STAMP:]


def _optional(value: int | None) -> str:
    return "" if value is None else str(value)


def _argument(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def _number(raw: bytes) -> int:
    try:
        return int(raw)
    except (TypeError, ValueError):
        return 0


def _offered(said: Any) -> Offered:
    return Offered(_text(said))


def _finished(said: Any) -> Finished:
    return Finished(_text(said))


def _claims(said: Any) -> list[Claim]:
    return [_claim(*one) for one in said]


def _news(lines: Sequence[bytes]) -> tuple[News, ...]:
    found = []
    for line in lines:
        number, _, rest = line.partition(b" ")
        via, _, body = rest.partition(b" ")
        found.append(News(_number(number), body, _text(via)))
    return tuple(found)


def _claim(
    stream_id: bytes, epoch: bytes, recording: bytes, created: bytes, waited: bytes, former: bytes, news: list[bytes]
) -> Claim:
    return Claim(
        _text(stream_id),
        _number(epoch),
        _text(recording),
        _text(created),
        _news(news),
        _number(waited),
        _text(former),
    )


def _worker(status: bytes | None, has: bytes, silent: bytes, drain: int) -> FleetWorker | None:
    try:
        return FleetWorker(_status.decode(status or b""), _number(has), _number(silent), bool(drain))
    except msgspec.MsgspecError:
        return None  # foreign data


def _stream(
    stream_id: bytes,
    recording: bytes,
    epoch: bytes,
    owner: bytes,
    state: bytes,
    said: bytes,
    created: bytes,
    age: bytes,
    silent: bytes,
) -> FleetStream:
    shown = _text(said) or RECORDING if state == b"owned" else _text(state)
    return FleetStream(
        _text(stream_id),
        _text(recording),
        _number(epoch),
        _text(owner),
        shown,
        _text(created),
        _number(age),
        _number(silent),
    )


def _read_happening(line: bytes) -> Happening | None:
    try:
        at_ms, what, epoch, who, text = _happening.decode(line)
        return Happening(iso_time(datetime.fromtimestamp(int(at_ms) / 1000, UTC)), what, epoch, who, text)
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return None
