"""Webhooks as people have them: saved with another encoding, or copied from a log, a curl line, a chat, a web page.

Zoom posts JSON in UTF-8. What is at hand at midnight is often something else. It is read where the meaning is sure;
where it is not, the reason names what the text is. How to read it takes long to import, and is only for what is not a
plain webhook: it is in `wrapped`.
"""

from msgspec import Struct

from rtms_cli.protocol.saved import decode_text
from rtms_cli.protocol.strict_json import loads
from rtms_cli.protocol.texts import utf8


class Pasted(Struct, frozen=True):
    """What was read, and what it was read from."""

    body: bytes
    """JSON in UTF-8: the bytes as they were, where those were JSON."""
    form: str = ""
    """What the text is, for people, where it is not plain JSON in UTF-8: "JavaScript's notation"."""
    is_verbatim: bool = True
    """Whether the body stood so in the text; else it was written again, and its signature is another one."""
    timestamp: str | None = None
    """The header `x-zm-request-timestamp`, where the text has it."""
    signature: str | None = None
    """The header `x-zm-signature`, where the text has it."""


def read_pasted(raw: bytes) -> Pasted:
    """The JSON in what someone saved or pasted, with the headers that verify it where those are there.

    :raises ValueError: if there is none, with a reason that names what the text is.
    """
    text, form = decode_text(raw)
    if not _is_plain(text):
        from rtms_cli.protocol.wrapped import unwrap

        found = unwrap(text)
        if found.form:
            return found
    return Pasted(text.encode() if form else raw, form)


def _is_plain(text: str) -> bool:
    try:
        return is_webhook(loads(utf8(text)))
    except ValueError:
        return False


def is_webhook(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    event = value.get("event")
    return isinstance(event, str) and "." in event and isinstance(value.get("payload"), dict)
