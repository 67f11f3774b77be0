"""Full-text search over what was said and written in all recordings of a folder.

The index is an SQLite file (FTS5) in the folder. It is a cache: each search brings it up to date first, and whoever
deletes a recording deletes it too, so that nothing that was deleted can be found in it. Where the folder cannot be
written to, it is in memory.

Scripts without blanks are indexed letter by letter, and a word of theirs is a phrase; upper case and accents make no
difference.
"""

import os
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from msgspec import Struct

from rtms_cli.catalog.entries import Entry, entry_of, folders
from rtms_cli.errors import Problem
from rtms_cli.export.chat import conversation
from rtms_cli.export.source import Recorded, recorded_in
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.files import SEARCH_INDEX, forget_search
from rtms_cli.recording.manifest import MANIFEST

MOST_HITS = 1_000
_VERSION = 2
_ADDRESSED = re.compile(" → |, in reply to ")
"""What stands between who wrote something and to whom."""
_WAIT_S = 30
_AT_ONCE = 100
"""Recordings that are indexed in one transaction."""
_SOURCES = (MANIFEST, "transcript.jsonl", "chat.jsonl")
_SCHEMA = f"""
CREATE TABLE recordings(id INTEGER PRIMARY KEY, name BLOB UNIQUE, stamp TEXT, began TEXT, title TEXT, problem TEXT);
CREATE TABLE lines(id INTEGER PRIMARY KEY, recording INTEGER, kind TEXT, at REAL, who TEXT, text TEXT);
CREATE INDEX lines_of ON lines(recording, kind, id);
CREATE VIRTUAL TABLE words USING fts5(said, tokenize="unicode61 remove_diacritics 2 categories 'L* N* Co M*'");
PRAGMA user_version={_VERSION};
"""
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
"""Letters of scripts that write no blanks between words."""
_WORDS = re.compile(r'"([^"]*)"?|(\S+)')
_SAID = re.compile(r"\w", re.UNICODE)


class Hit(Struct, frozen=True):
    """A line in which all words were found."""

    recording: str
    """The folder's name."""
    title: str
    began: str
    """When the recording began, as its manifest says."""
    kind: str
    """`transcript`, `chat` or `title`."""
    at: float
    """Seconds since the recording's zero."""
    who: str
    text: str
    before: list[str] = []
    """The lines before it, `who: text` each."""
    after: list[str] = []
    found_here: int = 1
    """How many lines of the same recording hold the words."""


class SearchIndex:
    """The index of one folder's recordings; close it after use.

    :raises Problem: if this Python's SQLite has no full-text search.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._db = _opened(place / SEARCH_INDEX)
        self.problems: list[str] = []
        """Recordings that could not be read, and why."""

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def update(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Index what is new or has changed, and forget what is gone.

        :param progress: is told how many recordings of how many were looked at.
        :raises Problem: if the folder cannot be listed.
        """
        found = {folder.name: folder for folder in folders(self._place)}
        with self._db:
            known = {os.fsdecode(name): stamp for name, stamp in self._db.execute("SELECT name, stamp FROM recordings")}
            gone = [name for name in known if name not in found]
            for name in gone:
                self._forget(name)
        if gone:
            self._scrub()
        names, done = iter(found), 0
        while batch := list(islice(names, _AT_ONCE)):
            with self._db:  # each transaction waits for the disk
                for name in batch:
                    progress(done, len(found))
                    done += 1
                    if known.get(name) != (stamp := _stamp(found[name])):
                        self._forget(name)
                        self._take(found[name], stamp)
        rows = self._db.execute("SELECT name, problem FROM recordings WHERE problem != '' ORDER BY name")
        self.problems = [f"{os.fsdecode(name)}: {problem}" for name, problem in rows]

    def search(
        self,
        words: str,
        *,
        user: str = "",
        limit: int = 100,
        context: int = 0,
        each: int | None = None,
        recording: bytes | None = None,
    ) -> list[Hit]:
        """The lines that hold all words, newest recording first, each recording's in order.

        A word in quotes is a phrase, one with `*` at its end the beginning of one.

        :param user: only what someone said whose name has this in it; case and accents make no difference.
        :param limit: at most this many.
        :param context: how many lines before and after each.
        :param each: at most this many of one recording, so that none hides the others.
        :param recording: only this one, by its folder's name.
        :raises Problem: if the query has no word.
        """
        wanted = _query(words)
        rows = self._db.execute(
            "SELECT line, of, name, coalesce(title, ''), began, kind, at, who, text, found_here FROM"
            " (SELECT lines.id AS line, recordings.id AS of, name, title, began, kind, at, who, text,"
            " count(*) OVER (PARTITION BY recordings.id) AS found_here,"
            " row_number() OVER (PARTITION BY recordings.id ORDER BY at, lines.id) AS place FROM words"
            " JOIN lines ON lines.id = words.rowid JOIN recordings ON recordings.id = lines.recording"
            " WHERE words MATCH ? AND is_in(?, who) AND (? IS NULL OR name = ?))"
            " WHERE place <= ? ORDER BY began DESC, name DESC, at, line LIMIT ?",
            (wanted, _storable(user), recording, recording, each or MOST_HITS, min(limit, MOST_HITS)),
        ).fetchall()
        return [
            Hit(
                os.fsdecode(name), title, began, kind, at, who, text,
                self._near(line, of, kind, -context), self._near(line, of, kind, context), found_here,
            )
            for line, of, name, title, began, kind, at, who, text, found_here in rows
        ]  # fmt: skip

    def speakers(self) -> list[str]:
        """Everyone who said or wrote something, by name."""
        rows = self._db.execute("SELECT DISTINCT who FROM lines WHERE who <> '' ORDER BY who")
        return list(dict.fromkeys(_ADDRESSED.split(who)[0] for (who,) in rows))

    def _near(self, line: int, recording: int, kind: str, count: int) -> list[str]:
        """So many lines of the same kind behind a line, or before it where the count is negative."""
        if not count:
            return []
        way, order = (">", "ASC") if count > 0 else ("<", "DESC")
        rows = self._db.execute(
            f"SELECT who, text FROM lines WHERE recording = ? AND kind = ? AND id {way} ? ORDER BY id {order} LIMIT ?",  # noqa: S608  # both are ours
            (recording, kind, line, abs(count)),
        ).fetchall()
        return [f"{who}: {text}" for who, text in (rows if count > 0 else reversed(rows))]

    def _take(self, folder: Path, stamp: str) -> None:
        entry, problem, lines = entry_of(folder), "", list[tuple[str, float, str, str]]()
        try:
            recorded = recorded_in(folder)
            lines = list(_lines(recorded, entry))
        except Problem as error:
            problem = error.what
        cursor = self._db.execute(
            "INSERT INTO recordings(name, stamp, began, title, problem) VALUES(?, ?, ?, ?, ?)",
            (os.fsencode(folder.name), stamp, *map(_storable, (entry.started_at, entry.title or "", problem))),
        )
        for kind, at, who, text in lines:
            line = self._db.execute(
                "INSERT INTO lines(recording, kind, at, who, text) VALUES(?, ?, ?, ?, ?)",
                (cursor.lastrowid, kind, at, _storable(who), _storable(text)),
            )
            self._db.execute("INSERT INTO words(rowid, said) VALUES(?, ?)", (line.lastrowid, _indexed(text)))

    def _forget(self, name: str) -> None:
        of, stored = "(SELECT id FROM recordings WHERE name = ?)", (os.fsencode(name),)
        self._db.execute(f"DELETE FROM words WHERE rowid IN (SELECT id FROM lines WHERE recording = {of})", stored)  # noqa: S608
        self._db.execute(f"DELETE FROM lines WHERE recording = {of}", stored)  # noqa: S608
        self._db.execute("DELETE FROM recordings WHERE name = ?", stored)

    def _scrub(self) -> None:
        """Leave nothing of deleted lines in the index: FTS5 only marks them, until its parts are merged."""
        with self._db:
            self._db.execute("INSERT INTO words(words) VALUES('optimize')")


def _opened(path: Path) -> sqlite3.Connection:
    """The index's file; a new one if it is not one of ours, one in memory where it cannot be written."""
    if path.is_symlink():
        return _in_memory()
    for _ in range(2):
        with suppress(OSError):
            path.touch(0o600)
        try:
            return _ready(sqlite3.connect(path, timeout=_WAIT_S))
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                break
        except sqlite3.DatabaseError:
            pass  # damaged, or not a database
        try:
            forget_search(path.parent)
        except OSError:
            break
    return _in_memory()


def _in_memory() -> sqlite3.Connection:
    try:
        return _ready(sqlite3.connect(":memory:"))
    except sqlite3.Error as error:
        what = f"This Python's SQLite cannot search text: {error}."
        raise Problem(what, "Use a Python whose SQLite has FTS5.") from None


def _ready(db: sqlite3.Connection) -> sqlite3.Connection:
    """With its tables.

    :raises sqlite3.Error: if it is not ours, or cannot be written to.
    """
    try:
        db.create_function("is_in", 2, is_in, deterministic=True)
        db.execute("PRAGMA secure_delete=ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            if version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError("another version's")
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        else:
            db.execute("BEGIN IMMEDIATE")
            db.rollback()
    except sqlite3.Error:
        db.close()
        raise
    return db


def is_in(part: str, name: str) -> bool:
    """Whether a name has this in it; upper case and accents make no difference, as in the index."""
    return _plain(part) in _plain(name)


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _stamp(folder: Path) -> str:
    """Changes when what is indexed of a recording may have changed."""
    parts = []
    for name in _SOURCES:
        try:
            found = (folder / name).lstat()
        except OSError:
            parts.append("-")
        else:
            parts.append(f"{found.st_ino}.{found.st_size}.{found.st_mtime_ns}")
    return " ".join(parts)


def _lines(recorded: Recorded, entry: Entry) -> Iterator[tuple[str, float, str, str]]:
    """What is indexed of a recording: kind, time, who, text."""
    if recorded.manifest.status == Status.REVOKED and not recorded.manifest.tracks:
        return
    if entry.title:
        yield "title", 0.0, "", entry.title
    for sentence in recorded.sentences():
        if _SAID.search(sentence.text):
            yield "transcript", max(0.0, sentence.start), sentence.name, sentence.text
    chat = conversation(recorded)
    for post in chat.posts:
        if not post.is_deleted and _SAID.search(shown := post.shown()):
            yield "chat", max(0.0, post.at or 0.0), chat.sender(post) or "", shown


def _indexed(text: str) -> str:
    return _storable(_UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text)))


def _query(words: str) -> str:
    """What FTS5 is asked for: each word as a phrase of its own, so that nothing in it is an operator.

    :raises Problem: if there is nothing to look for.
    """
    parts = []
    for phrase, word in _WORDS.findall(words):
        text = phrase or word
        if not _SAID.search(text):
            continue
        is_begun = text.endswith("*")
        letters = _indexed(text.rstrip("*")).replace('"', " ").split()
        parts.append(f'"{" ".join(letters)}"' + ("*" if is_begun else ""))
    if not parts:
        raise Problem(f"There is no word in {words!r}.", "Give one or more words: rtms search invoice")
    return " ".join(parts)


def _storable(text: str) -> str:
    """Without what neither UTF-8 nor SQLite's texts can hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
