"""Messages, read our own way: plainer than `rtms_cli` does, and by nothing of it but its numbers."""

from functools import lru_cache

import msgspec
from msgspec import Struct

from rtms_cli.protocol.numbers import MessageType, SessionState, StopReason, StreamState


class Said(Struct, frozen=True):
    """A message, read our own way."""

    msg_type: int
    fields: dict[str, object]

    def number(self, name: str) -> int | None:
        """A field that is a number, whatever it looks like."""
        value = self.fields.get(name)
        return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else None

    @property
    def status(self) -> int | None:
        """The status code of an answer, by either name."""
        status = self.number("status_code")
        return self.number("status") if status is None else status


STATES: dict[str, int] = {}
for _table in (StreamState, SessionState):
    STATES |= {member.name: member.value for member in _table}


@lru_cache(maxsize=8192)
def read(raw: bytes) -> Said | None:
    """Read a message; `None` if it is not valid."""
    try:
        body = msgspec.json.decode(raw)
        named = body["msg_type"]
    except (msgspec.MsgspecError, KeyError, UnicodeError):
        return None
    msg_type = named if isinstance(named, int) else int(named) if named.isdigit() else MessageType[named].value
    content = body.get("content", body.get("event"))
    fields = content if isinstance(content, dict) else body if content is None else {**body, "data": content}
    if msg_type == 18 and str(fields.get("data")).startswith("{"):
        inner = msgspec.json.decode(str(fields["data"]))  # chat as JSON in a text
        fields = {**fields, **inner}
    return Said(msg_type, _plain(fields) if 14 <= msg_type <= 18 else fields)


def _plain(fields: dict[str, object]) -> dict[str, object]:
    """Media in milliseconds and bare base64, whatever this server made of them."""
    at, data = fields.get("timestamp"), str(fields.get("data"))
    if isinstance(at, str) and "." in at:
        at = float(at)
    if isinstance(at, float):
        fields = {**fields, "timestamp": round(at * 1000)}
    elif at is not None and len(str(at)) == 16:
        fields = {**fields, "timestamp": str(at)[:13]}
    return {**fields, "data": data.partition(",")[2]} if data.startswith("data:") else fields


def state_of(said: Said, name: str) -> int | None:
    """A state, as a number or by its name."""
    value = said.fields.get(name)
    return STATES.get(value) if isinstance(value, str) and value in STATES else said.number(name)


def reason_of(said: Said, name: str) -> int | None:
    """A stop reason, as a number or by its name."""
    value = said.fields.get(name)
    if isinstance(value, str) and not value.isdigit():
        return StopReason[value].value
    return said.number(name)
