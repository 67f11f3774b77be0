"""Which queue a URL names, and what it is shown as."""

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
"""Environment variables: the queue's credentials, and which CAs are trusted."""
DEFAULT_PREFIX = "rtms"
_MOST_PREFIX = 64


class QueueUrl(Struct, frozen=True):
    """A queue, taken apart."""

    scheme: str
    host: str
    """Of `unix`, empty."""
    port: int
    path: str
    """Of `unix`, the socket."""
    database: int
    user: str
    password: Secret
    prefix: str
    """What all keys begin with: several fleets can share a server."""

    @property
    def shown(self) -> str:
        """The URL without what is secret."""
        prefix = "" if self.prefix == DEFAULT_PREFIX else f"?prefix={self.prefix}"
        if self.scheme == "unix":
            return f"unix://{self.path}{prefix}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}{prefix}"


def read_queue_url(text: str) -> QueueUrl:
    """Take a queue's URL apart: `redis://HOST[:PORT]/[DATABASE][?prefix=NAME]`, `rediss://…`, `unix://PATH`.

    User and password may stand in it; better they are in the environment.

    :raises Problem: if it is not valid; a password in it is not shown.
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
        raise Problem("--queue is not a queue's URL.", "Give redis://HOST, rediss://HOST:6380/0 or unix:///PATH.")
    if len(prefix) > _MOST_PREFIX or not prefix.isprintable() or set(prefix) & set("{} "):
        raise Problem("The queue's prefix is not a name.", "Give ?prefix=NAME, with letters and digits.")
    user = os.environ.get(USER) or unquote(parts.username or "")
    password = os.environ.get(PASSWORD) or unquote(parts.password or "")
    return QueueUrl(scheme, host, port, path, int(database), user, Secret(password), prefix)


def shown_queue(text: str) -> str:
    """A queue's URL without what is secret; of what is not a queue's URL, nothing is shown."""
    try:
        return read_queue_url(text).shown
    except Problem:
        return "(not a queue's URL)"


@asynccontextmanager
async def open_dispatch(url: str, warn: Callable[[str], None] | None = None) -> AsyncIterator[Dispatch]:
    """The dispatch that a URL names, for as long as it is entered.

    :param warn: receives what is wrong with a server that works anyway; by default the log does.
    :raises Problem: if it is not a queue's URL, the server is too old, or the client is not installed.
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
