"""`.env` files as people write them."""

import io
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from dotenv import dotenv_values

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.saved import decode_text


def read_env_file(path: Path, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The values of a `.env` file by their names, each with what was left out around it.

    People save it in UTF-16, with typographic quotation marks, as the statements that Zoom's page shows
    (`NAME = value;`), or as lines of a shell, PowerShell, YAML or JSON. A credential of Zoom's is one word of letters
    and digits, so the meaning is sure.

    :param names: of the credentials: only what stands beside one of them is repaired.
    :raises Problem: when it cannot be read.
    """
    try:
        text, _ = decode_text(path.read_bytes())
    except ValueError as error:
        raise Problem(f"{path} cannot be read: {error}.", "Save it as UTF-8.") from None
    except OSError as error:
        raise Problem(
            f"{path} cannot be read: {reason_of(error)}.", "Make it readable for the user who runs rtms."
        ) from None
    logging.getLogger("dotenv").disabled = logging.getLogger("dotenv.main").disabled = True  # it reports other lines
    credential = re.compile(rf"\b(?:{'|'.join(names)})\b", re.IGNORECASE)
    lines, left_out = [], {}
    for line in text.splitlines():
        name, plain, remark = _plain_line(line, credential)
        lines.append(plain)
        if name:
            left_out[name] = remark
    values = dotenv_values(stream=io.StringIO("\n".join(lines) + "\n"))
    return {name: (value, left_out.get(name, "")) for name, value in values.items() if value}


_COMMENT = re.compile(r"\s*(?:#|//|--|;|<|rem\b)", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\"'\])]*\s*(?::\s*\w+\s*(?==))?(?::=|=>|=|:|＝|,|(?=\s))\s*")
_ORDINARY = re.compile(r"(?:\"[^\"`'\\]*\"|'[^'\"`]*'|[^\s\"'`#;,\\]*)\s*(?:\s#.*)?")
_END = re.compile(r"\s(?:#|//|/\*|--).*")
_TYPOGRAPHIC = str.maketrans(dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‘’‚‛", "'"))
_INVISIBLE = "\u00a0\u200b\u2060\ufeff\0"
_QUOTES = "\"'`"


def _plain_line(line: str, credential: re.Pattern[str]) -> tuple[str, str, str]:
    """The name of a credential, its line as `.env` files have it, and what was left out to make it one."""
    found = credential.search(line)
    before = "" if found is None else line[: found.start()].replace("Environment=", "")
    separator = None if found is None else _SEPARATOR.match(line, found.end())
    if found is None or separator is None or _COMMENT.match(line) or "=" in before:
        return "", line, ""
    name, value = found[0].upper(), line[separator.end() :].strip()
    is_assigned = separator[0].strip(" \t\"'])") != ""
    straight = value.translate(_TYPOGRAPHIC)
    is_plain = straight == value and not any(mark in value for mark in _INVISIBLE)
    is_ordinary = is_plain and _ORDINARY.fullmatch(value) is not None
    if not is_assigned and len(value.split()) != 1 and not (is_ordinary and value.startswith(tuple(_QUOTES))):
        return "", line, ""  # a sentence about it
    if is_ordinary:
        return name, f"{name}={value}", ""
    bare = _within(straight)
    around = straight.replace(bare, "", 1)
    remarks = [
        (straight != value, "typographic quotation marks around it"),
        (straight == value and any(mark in around for mark in _QUOTES), "quotation marks that do not match"),
        (";" in around, "a ; at its end"),
        ("," in around, "a , at its end"),
        (any(mark in around for mark in _INVISIBLE), "an invisible character"),
    ]
    return name, f"{name}='{bare}'", " and ".join(what for is_so, what in remarks if is_so)


def _within(value: str) -> str:
    """What is left of a value without quotation marks, commas, semicolons, brackets and remarks around it."""
    closing = value.find(value[0], 1) if value[:1] and value[0] in _QUOTES else -1
    if closing > 1 and value[1] not in _QUOTES:
        return value[1:closing].strip(_INVISIBLE)
    return _END.sub("", value).strip(f" \t;,)}}]\\{_QUOTES}{_INVISIBLE}")
