"""What Zoom's HTTP servers answer, and what answers in their place, read without trust in any shape."""

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

from msgspec import Struct

from rtms_cli.protocol.fields import name_or_none
from rtms_cli.protocol.numbers import as_int
from rtms_cli.protocol.secrets import REDACTED, Secrets, redact_url
from rtms_cli.protocol.strict_json import loads
from rtms_cli.wire.poster import Answer

LONGEST_WAIT_S = 3600.0
"""What `Retry-After` may ask for; more is not believed."""
_MOST_WORDS = 200
_SHORTEST_SECRET = 4
"""Characters of a secret that says something where it is found."""
_CODES = ("code", "errorCode", "error_code")
_WORDS = ("reason", "message", "errorMessage", "error_message", "error_description", "detail")
_TRACKING = "x-zm-trackingid"
_CODE_IN_WORDS = re.compile(r"(?<![\d,.])4[,.]?7[0-4]\d(?![\d,.]*\d)")
_TEMPORARY = (408, 425, 429)


class Told(Struct, frozen=True):
    """What an answer says."""

    status: int
    fields: Mapping[str, object] = {}
    """The JSON object that it is; empty if it is not valid."""
    code: int | None = None
    """Zoom's own number of an error."""
    error: str = ""
    """OAuth's name of an error: `invalid_client`."""
    words: str = ""
    """What it says for people, without secrets, on one line."""
    tracking_id: str = ""
    """What Zoom's support asks for."""
    is_json: bool = False
    """Whether it is a JSON object."""
    is_page: bool = False
    """Whether it is a page for a browser: some proxy's, or a wrong URL's."""
    retry_after_s: float | None = None
    """How long to wait before the next try, where it says so."""

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in _TEMPORARY or self.status >= 500

    def named(self) -> str:
        """What was answered, in a few words: `400 invalid_client "Invalid client_id"`, `502, with a page of HTML`."""
        parts = [str(self.status)]
        if self.error:
            parts.append(self.error)
        if self.code is not None and self.code != self.status:
            parts.append(f"with error {self.code}")
        if self.words:
            parts.append(f'"{self.words}"')
        told = " ".join(parts)
        if self.is_page:
            told += ", with a page of HTML"
        return f"{told} (tracking id {self.tracking_id})" if self.tracking_id else told


def read_told(answer: Answer, now_s: float, secrets: Iterable[str] = ()) -> Told:
    """Read an answer. Total: any answer gives a value, and nothing is raised.

    :param now_s: the time, as Unix seconds, for a `Retry-After` that is a date without a `Date` beside it.
    :param secrets: what must not be in its words, should it come back.
    """
    known = list(secrets)
    tracking_id = without(_line(answer.headers.get(_TRACKING)), known)
    retry_after_s = read_retry_after(answer.headers, now_s)
    try:
        fields = loads(answer.body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        is_page = b"<html" in answer.body[:2000].lower() or b"<!doctype" in answer.body[:2000].lower()
        return Told(answer.status, tracking_id=tracking_id, is_page=is_page, retry_after_s=retry_after_s)
    inner = fields.get("error")
    levels = [fields, inner] if isinstance(inner, dict) else [fields]
    errors = fields.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        levels.append(errors[0])
    words = next((text for level in levels for name in _WORDS if (text := _line(level.get(name)))), "")
    code = next((code for level in levels for name in _CODES if (code := as_int(level.get(name))) is not None), None)
    if code is None and (found := _CODE_IN_WORDS.search(words)) is not None:
        code = int(re.sub(r"\D", "", found[0]))
    error = _line(inner) if isinstance(inner, str) else ""
    return Told(
        answer.status,
        fields,
        code if code is None or 0 < code < 10**9 else None,
        without(error, known),
        without(words, known),
        tracking_id,
        is_json=True,
        retry_after_s=retry_after_s,
    )


def without(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets: those that are known, and what looks like one in a URL."""
    text = redact_url(text)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = Secrets([secret]).hide_text(text.replace(secret, REDACTED))  # one by one: together few are known
    return text


def read_retry_after(headers: Mapping[str, str], now_s: float) -> float | None:
    """How long `Retry-After` asks to wait, from 0 s to an hour; `None` if it does not, or makes no sense.

    :param headers: by their names in lower case.
    :param now_s: the time, as Unix seconds, where no `Date` says what the server's is.
    """
    given = headers.get("retry-after", "").strip()
    if (seconds := as_int(given)) is not None:
        wait_s = float(seconds)
    else:
        moment = read_date(given)
        if moment is None:
            return None
        at = read_date(headers.get("date", ""))
        wait_s = moment - (now_s if at is None else at)
    return min(wait_s, LONGEST_WAIT_S) if wait_s >= 0 else None


def read_date(text: str) -> float | None:
    """A date of HTTP as Unix seconds; `None` if it is not valid."""
    try:
        return parsedate_to_datetime(text[:100]).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):  # what the standard library raises for odd dates
        return None


def _line(value: object) -> str:
    """A text, or a number, on one line; of what is neither, nothing."""
    text = name_or_none(value) or ""
    return " ".join(text[: _MOST_WORDS * 4].split())[:_MOST_WORDS]
