"""Notations that look like JSON: what JavaScript's console.log and Python's print() make, and names for the others."""

import ast
import json
import re
from collections.abc import Iterator

from rtms_cli.protocol.strict_json import dumps, loads

LEFT_OUT = re.compile(
    r"\[(?:Object|Array|Circular[^\]]*|object Object)\]|\.\.\. \d+ more (?:item|character|byte)s?|<Buffer [0-9a-f ]{2,}"
    r"|[,{\[]\s*(?:…|\.\.\.)\s*[}\]]|:\s*(?:Object|Array\(\d+\))(?=\s*[,}])"
)


def refuse_left_out(text: str) -> None:
    """Refuse what console.log or a browser's console has shortened.

    :raises ValueError: with what stands in place of the rest.
    """
    if found := LEFT_OUT.search(text):
        raise ValueError(
            f"console.log left out a part of it ({found[0].strip(': ')}): print JSON.stringify(body) instead"
        )


_SPLIT_STRING = re.compile(r"'[^\S\n]*\+[^\S\n]*\n\s*'")
_BARE_KEY = re.compile(r"[{,]\s*[A-Za-z_$][\w$]*\s*:")
_PYTHON_KEY = re.compile(r"\{\s*'[^']*'\s*:")
_IN_SCRIPT = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"|`(?P<template>(?:[^`\\$]|\\.)*)`"
    r"|(?P<mark><ref \*\d+>|\[\w+(?:\(\w+\))?: null prototype\]|\b[A-Z]\w*(?=\s+\{))"
    r"|(?P<undefined>\bundefined\b)",
    re.DOTALL,
)


def notations(text: str) -> Iterator[tuple[str, dict[str, object]]]:
    """A text read as one of the notations that look like JSON, each with its name."""
    start, end = text.find("{"), text.rfind("}") + 1
    if start < 0 or end <= start:
        return
    inner = text[start:end]
    value = _json5(_IN_SCRIPT.sub(_plain_script, _SPLIT_STRING.sub("", inner)))
    name = "JavaScript's notation" if _BARE_KEY.search(inner) else "JSON with comments or commas too many"
    if value is None or _PYTHON_KEY.match(inner):
        try:
            value, name = ast.literal_eval(inner), "a Python dict as print() shows it"
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass  # not Python's, then
    if isinstance(value, dict):
        try:
            plain = loads(dumps(value))
        except (ValueError, TypeError, RecursionError):
            return
        if isinstance(plain, dict):
            yield name, plain


def _plain_script(match: re.Match[str]) -> str:
    """What Node writes and JSON5 has not: names of classes, `undefined`, and texts in backquotes."""
    if match["template"] is not None:
        return json.dumps(re.sub(r"\\(.)", r"\1", match["template"]))
    if match["undefined"]:
        return "null"
    return match["text"] or ""


def _json5(text: str) -> object:
    import json5

    try:
        return json5.loads(text)
    except (ValueError, RecursionError):
        return None


_GO = "it is Go's notation, not JSON: use json.Marshal"
_PYTHON = "it is Python's notation, not JSON: use json.dumps"
_NAMES = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (r"%\{", "it is Elixir's notation, not JSON: use Jason.encode"),
        (r"\{\s*:[a-z]", "it is Clojure's notation, not JSON: write it as JSON"),
        (r"\b\w+\.\w+\{\w+:|\bmap\[\w|\binterface \{\}|^&?\{(?:[\w.]+ \d+ |[A-Z]\w*:[^\s\"'])", _GO),
        (r"^[\w%.[\]-]+=[^&\s]*&\S*$", "it is a form (URL-encoded), not JSON"),
        (r"^\W*(?i:array|object)\s*\(|^\s*stdClass", "it is PHP's var_dump, not JSON: use json_encode"),
        (r"^\W*Map\(\d+\)", "it is a JavaScript Map, not JSON: print JSON.stringify(Object.fromEntries(map))"),
        (r"\b(?:String|Number|Bool)\([^)]|\bObject \{\"", "it is Rust's notation, not JSON: use serde_json::to_string"),
        (r"\w[\"']?\s*=>\s?[\S]", "it is Ruby's or PHP's notation, not JSON: print its JSON"),
        (r"^\{?.{0,20}[{,]\s*\w+:.*\bnil\b", "it is Ruby's notation, not JSON: print its JSON"),
        (r"^\s*<", "it is HTML or XML, not JSON"),
        (r"%7[Bb]", "it is URL-encoded, not JSON"),
        (r"^\W*\{?\s*\w+=[^=>]|^\w+\((?:\w+=|\[)|^\w+='", "it is how a program prints objects, not JSON: use JSON"),
        (r"^\[\s*\"[^\"]*\":", "it is Swift's notation, not JSON: use JSONEncoder"),
        (r"[{,]\s*'[^']*'\s*:.*\b(?:None|True|False)\b|[{,]\s*'[A-Za-z_]\w*'\s*:", _PYTHON),
        (r"[{,]\s*(?:[A-Za-z_$][\w$]*|'[^']*')\s*:", "it is JavaScript's notation, not JSON: use JSON.stringify(…)"),
        (r"[\[({]\s*\w+\s?=[^=>]", "it is how a program prints objects, not JSON: use JSON"),
        (r"^undefined\b", "it is undefined: the app read no body (does it parse JSON?)"),
        (r"^[0-9a-fA-F]{4,8}:? +(?:[0-9a-fA-F]{2,4} +){4}", "it is a hex dump, not JSON"),
        (r"^(?:---\n)?[A-Za-z_]\w*:(?:\s|$)", "it is YAML or a list of headers, not JSON"),
        (r"^[\w.]+\s*=\s*[\"\[{\d]", "it is TOML or an assignment, not JSON"),
    )
)  # fmt: skip


def named(text: str) -> str | None:
    """What a text is that cannot be read."""
    name = next((name for pattern, name in _NAMES if pattern.search(text[:4096])), None)
    if text.count("{") > text.count("}"):
        return f"{name or 'not JSON: it ends in the middle'}. Was all of it pasted?"
    return name
