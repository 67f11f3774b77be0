"""Queue URLs: parsing them, and showing them without secrets."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.fleet.dispatch import Dispatch
from rtms_cli.protocol.secrets import Secret

SCHEMES = ("redis", "rediss", "unix")
USER, PASSWORD, CA_FILE = "RTMS_QUEUE_USER", "RTMS_QUEUE_PASSWORD", "RTMS_QUEUE_CA_FILE"
"""Environment variables: credentials for the queue, and trusted certificate authorities."""
DEFAULT_PREFIX = "rtms"
_MOST_PREFIX = 64


class QueueUrl(Struct, frozen=True):
    """A parsed queue URL."""

    scheme: str
    host: str
    """Empty for `unix`."""
    port: int
    path: str
    """The socket, for `unix`."""
    database: int
    user: str
    password: Secret
    prefix: str
    """Prefix of all keys, so that several fleets can share a server."""

    @property
    def shown(self) -> str:
        """Return the URL without secrets."""
        prefix = "" if self.prefix == DEFAULT_PREFIX else f"?prefix={self.prefix}"
        if self.scheme == "unix":
            return f"unix://{self.path}{prefix}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}{prefix}"


def read_queue_url(text: str) -> QueueUrl:
    """Parse a queue's URL: `redis://HOST[:PORT]/[DATABASE][?prefix=NAME]`, `rediss://…`, `unix://PATH`.

    It may contain user and password, but the environment is a better place for them.

    :raises Problem: if it is invalid. The message does not show a password in it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or 6379
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        scheme, host, path = parts.scheme, parts.hostname or "", unquote(parts.path)
        database = options.pop("db", "0") if scheme == "unix" else path.strip("/") or options.pop("db", "0")
        prefix = options.pop("prefix", DEFAULT_PREFIX)
        is_good = scheme in SCHEMES and database.isdecimal() and len(database) < 6 and not options
        is_good = is_good and bool(prefix) and bool(path if scheme == "unix" else host)
    except ValueError:
        is_good = False
    if not is_good:
        raise Problem("--queue is not a valid queue URL.", "Give redis://HOST, rediss://HOST:6380/0 or unix:///PATH.")
    if len(prefix) > _MOST_PREFIX or not prefix.isprintable() or set(prefix) & set("{} "):
        raise Problem("The queue's prefix is not a valid name.", "Give ?prefix=NAME, with letters and digits.")
    user = os.environ.get(USER) or unquote(parts.username or "")
    password = os.environ.get(PASSWORD) or unquote(parts.password or "")
    return QueueUrl(scheme, host, port, path, int(database), user, Secret(password), prefix)


def shown_queue(text: str) -> str:
    """Return a queue's URL without secrets. An invalid URL is not shown at all."""
    try:
        return read_queue_url(text).shown
    except Problem:
        return "(not a queue URL)"


@asynccontextmanager
async def open_dispatch(url: str, warn: Callable[[str], None] | None = None) -> AsyncIterator[Dispatch]:
    """Open the dispatch that a URL names, and close it at the end.

    :param warn: called with warnings about a server that still works. By default, they are logged.
    :raises Problem: if the URL is invalid, the server is too old, or the client library is not installed.
    """
    where = read_queue_url(url)
    try:
        import redis  # noqa: F401
    except ImportError:
        raise Problem("Queues need the Redis client.", "pip install 'rtms-cli[fleet]'") from None
    from rtms_cli.fleet.redis import RedisDispatch

    dispatch = RedisDispatch(where, warn=warn)
    try:
        yield dispatch
    finally:
        await dispatch.close()
