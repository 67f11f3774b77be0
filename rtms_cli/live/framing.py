"""The messages on a tap's WebSocket: our own, and Twilio Media Streams messages. Pure.

Both are described in docs/live-websocket.md, field by field.
"""

import hashlib
import struct
from collections.abc import Iterator

import pybase64
from msgspec import Struct

from rtms_cli.live.pieces import AUDIO, GAP, SHARE, VIDEO, Beginning, Piece, SoundForm
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.strict_json import dumps, loads

VERSION = 1
"""Version of our messages, in `start` and in the header of binary messages."""
HEADER = struct.Struct("!BBHIQ")
"""Header of media: kind, version, header length, user number, timestamp in ms; network byte order."""
KINDS = {AUDIO: 1, VIDEO: 2, SHARE: 3}
"""Codes of the kinds in the header."""
STOP = b'{"type":"stop"}'
MOST_USERS = 10_000
"""Users that may have a number at the same time."""

CHUNK_MS = 20
"""Audio per Twilio message, in ms."""
MOST_MARK = 1_000
"""Longest mark name that is sent back, in characters."""
TWILIO_ENCODINGS = {"mulaw": ("audio/x-mulaw", 1), "s16le": ("audio/x-l16", 2)}
"""Name of each encoding in Twilio's messages, and its bytes per sample. Twilio itself only sends the first."""
_LAST_MS = (1 << 63) - 1


class Message(Struct, frozen=True, gc=False):
    """One of our messages."""

    raw: bytes
    is_text: bool
    piece: Piece | None = None
    """The kind of media that it carries; none for `user` and `stop`."""
    user: int = 0
    """The user that a `user` message announces, or that a piece belongs to."""


class _User(Struct, frozen=True):
    """An announced user."""

    number: int
    name: str | None
    sound: SoundForm | None
    """Format of the user's own audio, if any."""


class Framing:
    """Our messages for one stream. Users get numbers, which are announced before they are used."""

    def __init__(self, beginning: Beginning) -> None:
        self.beginning = beginning
        self._users: dict[UserId, _User] = {}
        self._last = 0
        for user_id, user_name in beginning.participants:
            if user_id is not None:
                self._learn(user_id, user_name, None)

    def start(self) -> bytes:
        """Return the first message, for clients that listen from now on."""
        participants = [_described_user(user_id, user) for user_id, user in self._users.items()]
        return dumps({"type": "start", "version": VERSION, **described(self.beginning), "participants": participants})

    @property
    def participants(self) -> tuple[tuple[UserId, str | None], ...]:
        """Return the users announced so far."""
        return tuple((user_id, user.name) for user_id, user in self._users.items())

    def learn(self, piece: Piece, told: Beginning) -> tuple[int, Message | None]:
        """Return the number of a piece's user, and an announcement if the user is new or has changed.

        :param told: what the piece's target was told at its beginning.
        """
        user_id, name = piece.user_id, piece.user_name
        if user_id is None:
            user_id, name = told.user_id, told.user_name
        if user_id is None:
            return 0, None
        user, is_news = self._learn(user_id, name, told.sound if piece.kind == AUDIO else None)
        if not is_news:
            return user.number, None
        raw = dumps({"type": "user", **_described_user(user_id, user)})
        return user.number, Message(raw, is_text=True, user=user.number)

    def messages(self, piece: Piece, told: Beginning) -> Iterator[Message]:
        """Yield a piece, preceded by the announcement of its user if needed."""
        user, announcement = self.learn(piece, told)
        if announcement is not None:
            yield announcement
        if (kind := KINDS.get(piece.kind)) is not None:
            at_ms = min(max(piece.timestamp_ms, 0), _LAST_MS)
            raw = HEADER.pack(kind, VERSION, HEADER.size, user, at_ms) + piece.data
            yield Message(raw, is_text=False, piece=piece, user=user)
        elif piece.kind == GAP:
            raw = b'{"type":"gap","user":%d,' % user + piece.data.strip()[1:]
            yield Message(raw, is_text=True, piece=piece, user=user)
        else:  # a line is already JSON
            head = b'{"type":"%s","user":%d,"line":' % (piece.kind.encode(), user)
            yield Message(head + piece.data.strip() + b"}", is_text=True, piece=piece, user=user)

    def _learn(self, user_id: UserId, name: str | None, sound: SoundForm | None) -> tuple[_User, bool]:
        """Return a user, and whether the user is new or has changed."""
        known = self._users.get(user_id)
        if known is not None and (name is None or name == known.name) and (sound is None or sound == known.sound):
            return known, False
        if known is None:
            if len(self._users) >= MOST_USERS:
                self._users.clear()  # a user who returns gets a new number
            self._last += 1
            user = _User(self._last, name, sound)
        else:
            user = _User(known.number, name or known.name, sound or known.sound)
        self._users[user_id] = user
        return user, True


def _described_user(user_id: UserId, user: _User) -> dict[str, object]:
    return {"user": user.number, "user_id": user_id, "user_name": user.name, "format": _described_sound(user.sound)}


def _described_sound(sound: SoundForm | None) -> dict[str, object] | None:
    if sound is None:
        return None
    return {"encoding": sound.encoding, "rate": sound.rate_hz, "channels": sound.channels}


def described(told: Beginning) -> dict[str, object]:
    """Return the description of a stream."""
    return {
        "product": told.product,
        "id": told.id,
        "stream_id": told.stream_id,
        "media": told.media,
        "format": _described_sound(told.sound),
        "user_id": told.user_id,
        "user_name": told.user_name,
    }


def gap(kind: str, user: int, from_ms: int, to_ms: int, why: str, count: int) -> bytes:
    """Return the message that reports missing media."""
    told = {"kind": kind, "from_ms": from_ms, "to_ms": to_ms, "why": why, "count": count}
    return dumps({"type": "gap", "user": user, **told})


class Twilio:
    """Twilio's messages for one stream: audio in chunks of 20 ms, regardless of the pieces' sizes.

    :raises ValueError: if the messages have no name for the audio format.
    """

    def __init__(self, beginning: Beginning) -> None:
        sound = beginning.sound or SoundForm(8000, 1, "mulaw")
        if sound.encoding not in TWILIO_ENCODINGS:
            raise ValueError(f"Twilio's messages carry mulaw or s16le, not {sound.encoding}")
        encoding, width = TWILIO_ENCODINGS[sound.encoding]
        self._beginning = beginning
        self._format = {"encoding": encoding, "sampleRate": sound.rate_hz, "channels": sound.channels}
        self._frame_nbytes = width * sound.channels
        self._rate_hz = sound.rate_hz
        self._chunk_nbytes = sound.rate_hz * CHUNK_MS // 1000 * self._frame_nbytes
        self._waiting = bytearray()
        self._taken_nbytes = self._chunks = self._sequence = 0
        self._first_ms: int | None = None
        self._skipped_ms = 0
        """Offset of the audio from its position in the accepted data, caused by dropped pieces."""
        self.stream_sid = _sid("MZ", beginning.stream_id, str(beginning.user_id))
        self._call = {"accountSid": _sid("AC", beginning.product), "callSid": _sid("CA", beginning.stream_id)}

    def connected(self) -> bytes:
        """Return the first message."""
        return dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self) -> bytes:
        """Return the second message."""
        told = self._beginning
        known = {
            "product": told.product,
            "id": told.id,
            "stream_id": told.stream_id,
            "user_id": told.user_id,
            "user_name": told.user_name,
        }
        parameters = {key: str(value) for key, value in known.items() if value is not None}
        start = {
            "streamSid": self.stream_sid,
            **self._call,
            "tracks": ["inbound"],
            "mediaFormat": self._format,
            "customParameters": parameters,
        }
        return self._message("start", start)

    def take(self, piece: Piece) -> None:
        """Accept audio, and ignore anything else."""
        if piece.kind != AUDIO:
            return
        if self._first_ms is None:
            self._first_ms = piece.timestamp_ms
        later_ms = piece.timestamp_ms - self._first_ms - self._ms(self._taken_nbytes) - self._skipped_ms
        if later_ms >= CHUNK_MS:
            self._skipped_ms += later_ms
        self._waiting += piece.data
        self._taken_nbytes += len(piece.data)

    def media(self, *, rest: bool = False) -> bytes | None:
        """Return the next `media` message, or `None` until more audio arrives.

        :param rest: whether to send an incomplete chunk, too.
        """
        chunk = bytes(self._waiting[: self._chunk_nbytes])
        if not chunk or (len(chunk) < self._chunk_nbytes and not rest):
            return None
        at_ms = self._ms(self._taken_nbytes - len(self._waiting)) + self._skipped_ms
        del self._waiting[: self._chunk_nbytes]
        self._chunks += 1
        payload = pybase64.b64encode_as_string(chunk)
        media = {"track": "inbound", "chunk": str(self._chunks), "timestamp": str(at_ms), "payload": payload}
        return self._message("media", media)

    def mark(self, name: str) -> bytes:
        """Return the message that confirms that everything before a mark was played."""
        return self._message("mark", {"name": name})

    def stop(self) -> bytes:
        """Return the last message."""
        return self._message("stop", self._call)

    def _ms(self, nbytes: int) -> int:
        return nbytes // self._frame_nbytes * 1000 // self._rate_hz

    def _message(self, event: str, content: object) -> bytes:
        """Return a message with the next number. It must be sent before the next one is created."""
        self._sequence += 1
        return dumps(
            {"event": event, "sequenceNumber": str(self._sequence), event: content, "streamSid": self.stream_sid}
        )


def _sid(kind: str, *of: str) -> str:
    """Return an id in Twilio's form. It is the same for the same stream."""
    return kind + hashlib.sha256("\0".join((kind, *of)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_mark(raw: bytes) -> str | None:
    """Return the name in a bot's `mark` message, or `None` for any other message."""
    if b'"mark"' not in raw:
        return None
    try:
        said = loads(raw)
    except ValueError:
        return None
    mark = said.get("mark") if isinstance(said, dict) and said.get("event") == "mark" else None
    name = mark.get("name") if isinstance(mark, dict) else None
    return name if isinstance(name, str) and len(name) <= MOST_MARK else None
