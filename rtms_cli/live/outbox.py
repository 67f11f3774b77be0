"""Messages that wait for delivery, on disk, so that they survive the process.

An outbox is one SQLite file in the folder for recordings. Several processes may share it. Each holds a *slot*: a number
with a lock file that stays locked while the process lives. A message belongs to a slot, and only the slot's holder
sends it, so no message is sent by two processes. When a process has exited, the next process that sends to the same
receiver takes over its messages.

Everything here waits for the disk. Use it on a separate thread.
"""

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE = ".rtms-outbox.sqlite3"
MOST_MESSAGES, MOST_NBYTES = 100_000, 128 << 20
"""How much may wait for one receiver."""
KEPT_S = 86_400.0
"""Maximum age of a message that its receiver does not accept, or whose receiver is no longer configured."""
MOST_SLOTS = 1000
"""How many processes may use an outbox at once."""

_APPLICATION_ID, _VERSION = 0x52544D53, 1
_NOBODYS = 0
"""The slot of messages that any process configured for their receiver may take."""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS messages (seq INTEGER PRIMARY KEY AUTOINCREMENT, slot INTEGER NOT NULL,"
    " receiver TEXT NOT NULL, stream TEXT NOT NULL, id TEXT NOT NULL, kept INTEGER NOT NULL, at REAL NOT NULL,"
    " body BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS lanes ON messages (slot, receiver, stream, seq)",
    "CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, slot INTEGER NOT NULL, receivers TEXT NOT NULL,"
    " stream TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


class Message(Struct, frozen=True):
    """One event for one receiver."""

    receiver: str
    """The receiver's key."""
    stream: str
    """The stream's id: messages with the same receiver and stream are delivered in order."""
    id: str
    """Its id, the same for each attempt and each receiver."""
    at: float
    """Unix time of the event, in seconds."""
    body: bytes
    kept: bool = False
    """Whether it is kept if the stream is revoked, and still fits when the outbox is full for others."""
    seq: int = 0
    """Its sequence number, assigned by the outbox."""


class Batch(Struct, frozen=True):
    """A message that is still growing. It is delivered once it is sealed, or once its process has exited."""

    id: str
    receivers: tuple[str, ...]
    stream: str
    at: float
    body: bytes


class BrokenOutboxError(Exception):
    """The file is damaged or gone. `open` creates a new one."""


class Outbox:
    """Waiting messages; see the module docstring.

    :param folder: folder of the file; `None` keeps it in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._path = None if folder is None else folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._lock: int | None = None
        self._slot = 1
        self._last_seq = 0
        self._loads: dict[str, list[int]] = {}
        """Waiting messages and bytes, by receiver."""

    def open(self) -> str | None:
        """Open or create the file. A damaged or foreign file is renamed.

        :returns: the new path of a renamed file.
        :raises Problem: if the file cannot be created.
        """
        self._disconnect()
        aside = None
        try:
            self._take_slot()
            try:
                self._connect()
            except (sqlite3.DatabaseError, BrokenOutboxError) as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # busy, or no space: the file is not damaged
                self._disconnect()
                aside = self._move_aside()
                self._connect()
        except (OSError, sqlite3.Error, BrokenOutboxError) as error:
            self._disconnect()
            why = reason_of(error)
            raise Problem(
                f"Cannot open the outbox for notifications in {self._folder}: {why}.",
                "Choose another folder with --out.",
            ) from None
        return aside

    def close(self) -> None:
        """Close the file. Waiting messages are left for the next process."""
        self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def commit(self, work: Callable[[], T]) -> T:
        """Run a function that uses the methods below, in one transaction.

        :raises BrokenOutboxError: if the file is damaged or gone.
        :raises sqlite3.Error: if it cannot be written now.
        """
        self._look_for_file()
        db = self._db
        loads = {receiver: list(load) for receiver, load in self._loads.items()}
        try:
            db.execute("BEGIN IMMEDIATE")
            result = work()
            db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise BrokenOutboxError(str(error)) from error
            raise
        finally:
            if db.in_transaction:
                self._loads = loads
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
        return result

    # Within `commit`.

    def take_over(self, receivers: Collection[str], now: float) -> int:
        """Take over orphaned messages for these receivers, and drop messages for others that are too old.

        :param now: Unix time in seconds.
        :returns: how many were dropped.
        """
        ours = json.dumps(list(receivers))
        self._db.execute(
            "UPDATE messages SET slot = ? WHERE slot = ? AND receiver NOT IN (SELECT value FROM json_each(?))",
            [_NOBODYS, self._slot, ours],
        )
        dropped = 0
        for (slot,) in self._db.execute("SELECT slot FROM messages UNION SELECT slot FROM batches").fetchall():
            with self._held(slot) as is_free:
                if is_free:
                    dropped += self._take_over(slot, ours, now)
        self._count()
        return dropped

    def seal_own(self) -> None:
        """Seal every batch of this process."""
        for (batch,) in self._db.execute("SELECT id FROM batches WHERE slot = ?", [self._slot]).fetchall():
            self.seal(batch)

    def add(self, message: Message) -> bool:
        """Append a message.

        :returns: whether it fit.
        """
        load = self._loads.setdefault(message.receiver, [0, 0])
        share = 1.1 if message.kept else 1.0
        if load[0] >= MOST_MESSAGES * share or load[1] + len(message.body) > MOST_NBYTES * share:
            return False
        self._insert(self._slot, message)
        load[0] += 1
        load[1] += len(message.body)
        return True

    def grow(self, batch: Batch) -> None:
        """Save a batch, replacing its earlier state."""
        row = [batch.id, self._slot, json.dumps(batch.receivers), batch.stream, batch.at, batch.body]
        self._db.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?)", row)

    def seal(self, batch_id: str) -> list[tuple[Message, bool]]:
        """Append a batch to the waiting messages.

        :returns: the resulting messages, and whether each fit.
        """
        return self._seal(batch_id, self._slot)

    def lanes(self) -> list[tuple[str, str]]:
        """Return the receivers and streams for which this process has messages."""
        rows = self._db.execute("SELECT DISTINCT receiver, stream FROM messages WHERE slot = ?", [self._slot])
        return list(rows)

    def heads(self, receiver: str, stream: str, after: int, most: int, most_nbytes: int) -> tuple[list[Message], bool]:
        """Return the next messages of a receiver and stream, in order, and whether there are more.

        :param after: sequence number of the last known message.
        :param most_nbytes: stop reading at this total size.
        """
        rows = self._db.execute(
            "SELECT receiver, stream, id, at, body, kept, seq FROM messages"
            " WHERE slot = ? AND receiver = ? AND stream = ? AND seq > ? ORDER BY seq LIMIT ?",
            [self._slot, receiver, stream, after, most],
        )
        found: list[Message] = []
        nbytes = 0
        for row in rows:
            receiver, stream, message_id, at, body, kept, seq = row
            found.append(Message(receiver, stream, message_id, at, body, bool(kept), seq))
            nbytes += len(body)
            if len(found) == most or nbytes >= most_nbytes:
                return found, True
        return found, False

    def remove(self, seqs: Sequence[int]) -> None:
        """Delete messages that were delivered or given up."""
        for seq in seqs:
            self._delete("seq = ?", [seq])

    def remove_old(self, receiver: str, stream: str, after: int, before: float) -> int:
        """Delete messages of a receiver and stream that are older than a Unix time in seconds.

        :param after: messages up to this sequence number stay regardless of age.
        :returns: how many.
        """
        return self._delete("receiver = ? AND stream = ? AND seq > ? AND at < ?", [receiver, stream, after, before])

    def remove_receiver(self, receiver: str, but: Collection[int]) -> int:
        """Delete everything for a receiver.

        :param but: sequence numbers of messages being sent, which stay.
        :returns: how many.
        """
        return self._delete(
            "receiver = ? AND seq NOT IN (SELECT value FROM json_each(?))", [receiver, json.dumps(list(but))]
        )

    def remove_stream(self, stream: str, but: Collection[int]) -> int:
        """Delete what was said in a stream. Messages that are `kept` stay.

        :param but: sequence numbers of messages being sent, which stay.
        :returns: how many.
        """
        batches = self._db.execute("DELETE FROM batches WHERE slot = ? AND stream = ?", [self._slot, stream])
        on_way = json.dumps(list(but))
        gone = self._delete("stream = ? AND kept = 0 AND seq NOT IN (SELECT value FROM json_each(?))", [stream, on_way])
        return gone + batches.rowcount

    @property
    def waiting(self) -> int:
        """Return how many messages this process has."""
        return sum(count for count, _ in self._loads.values())

    # Implementation.

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise BrokenOutboxError("it is not open")
        return self._connection

    def _insert(self, slot: int, message: Message) -> None:
        done = self._db.execute(
            "INSERT INTO messages (slot, receiver, stream, id, kept, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [slot, message.receiver, message.stream, message.id, int(message.kept), message.at, message.body],
        )
        self._last_seq = max(self._last_seq, done.lastrowid or 0)

    def _take_over(self, slot: int, ours: str, now: float) -> int:
        for (batch,) in self._db.execute("SELECT id FROM batches WHERE slot = ?", [slot]).fetchall():
            self._seal(batch, slot)
        self._db.execute(
            "UPDATE messages SET slot = ? WHERE slot = ? AND receiver IN (SELECT value FROM json_each(?))",
            [self._slot, slot, ours],
        )
        others = "DELETE FROM messages WHERE slot = ? AND at < ? AND receiver NOT IN (SELECT value FROM json_each(?))"
        return self._db.execute(others, [slot, now - KEPT_S, ours]).rowcount

    def _seal(self, batch_id: str, slot: int) -> list[tuple[Message, bool]]:
        row = self._db.execute("SELECT receivers, stream, at, body FROM batches WHERE id = ?", [batch_id]).fetchone()
        self._db.execute("DELETE FROM batches WHERE id = ?", [batch_id])
        if row is None:
            return []
        messages = [Message(receiver, row[1], batch_id, row[2], row[3]) for receiver in json.loads(row[0])]
        if slot == self._slot:
            return [(message, self.add(message)) for message in messages]
        for message in messages:
            self._insert(slot, message)
        return [(message, True) for message in messages]

    def _delete(self, where: str, values: Sequence[object]) -> int:
        values = [self._slot, *values]
        sums = (
            f"SELECT receiver, COUNT(*), SUM(LENGTH(body)) FROM messages WHERE slot = ? AND {where} GROUP BY receiver"  # noqa: S608
        )
        total = 0
        for receiver, count, nbytes in self._db.execute(sums, values).fetchall():
            load = self._loads.setdefault(receiver, [0, 0])
            load[0] -= count
            load[1] -= nbytes
            total += count
        if total:
            self._db.execute(f"DELETE FROM messages WHERE slot = ? AND {where}", values)  # noqa: S608
        return total

    def _count(self) -> None:
        sums = "SELECT receiver, COUNT(*), SUM(LENGTH(body)) FROM messages WHERE slot = ? GROUP BY receiver"
        self._loads = {row[0]: [row[1], row[2]] for row in self._db.execute(sums, [self._slot])}

    def _look_for_file(self) -> None:
        """Check that the open file is still the one at its path.

        :raises BrokenOutboxError: if it is not.
        """
        if self._path is None:
            return
        try:
            found = self._path.lstat()
        except OSError as error:
            raise BrokenOutboxError(f"it is gone: {reason_of(error)}") from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise BrokenOutboxError("another file took its place")

    def _connect(self) -> None:
        if self._path is None:
            self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        else:
            self._identity = _make_private(self._path)
            self._connection = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        db = self._connection
        known = db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]
        is_empty = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        if known != (_APPLICATION_ID, _VERSION) and not (is_empty and known[0] in (0, _APPLICATION_ID)):
            raise BrokenOutboxError("it is another program's file")
        if (said := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise BrokenOutboxError(said)
        db.execute("PRAGMA auto_vacuum = FULL")  # returns the space that an absent receiver's messages took
        db.execute("PRAGMA journal_mode = WAL")
        # survives the end of the process; a crash of the machine may lose the last moments
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")  # leaves no traces of what people said
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement)
        last = db.execute("SELECT MAX(seq) FROM sqlite_sequence").fetchone()[0]
        if (last or 0) < self._last_seq:  # a number never stands for two messages, not even in a new file
            db.execute("DELETE FROM sqlite_sequence")
            db.execute("INSERT INTO sqlite_sequence VALUES ('messages', ?)", [self._last_seq])
        self._count()
        db.execute("COMMIT")

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _move_aside(self) -> str:
        assert self._path is not None
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        target = self._path.with_name(f".rtms-outbox.damaged-{moment}.sqlite3")
        for ending in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self._path}{ending}", f"{target}{ending}")  # noqa: PTH105
        return target.name

    def _take_slot(self) -> None:
        """Take the lowest free slot, including any messages that its previous holder left."""
        if self._folder is None or self._lock is not None:
            return
        for slot in range(1, MOST_SLOTS):
            try:
                self._lock = _lock(self._folder, slot)
            except BlockingIOError:
                continue
            self._slot = slot
            return
        raise OSError(f"{MOST_SLOTS} processes already use it")

    @contextmanager
    def _held(self, slot: int) -> Iterator[bool]:
        """Yield whether a slot is free, and hold it while the block runs."""
        if slot in (_NOBODYS, self._slot) or self._folder is None:
            yield slot != self._slot
            return
        try:
            descriptor = _lock(self._folder, slot)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)


def _lock(folder: Path, slot: int) -> int:
    """Lock a slot.

    :returns: the descriptor that holds the lock until it is closed.
    :raises BlockingIOError: if another process holds it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(folder / f".rtms-outbox.{slot}.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError as error:  # a file system without locks: assume that there is one process
        log.debug("the outbox's folder has no locks: %s", error)
    return descriptor


def _make_private(path: Path) -> tuple[int, int]:
    """Create a file that only its owner can read.

    :returns: its identity.
    :raises BrokenOutboxError: if its name is taken by something else.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise BrokenOutboxError("it is not a regular file")
    if found.st_mode & 0o077:
        path.chmod(0o600)
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error means that the file is damaged. Temporary errors, such as a full disk, do not."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith("no such table")
