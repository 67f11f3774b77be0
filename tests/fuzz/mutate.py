"""What is done to files: to their bytes, their lines, the JSON in them, and to the folder that they are in."""

import copy
import json
import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HOSTILE = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e\r\n\x00"
ODD: tuple[Any, ...] = (
    None, True, False, "", "x", "-1", "10", "010", "１０", "1e999", HOSTILE, "\ud83d", "\ud83d\ude00", "é" * 3000, 0,
    -1, 1, 2, 3, 8, 10, 14, 1 << 31, 1 << 63, 1 << 64, -(1 << 70), 10**400, 0.5, -0.0, 1e308, -1e308, 1e18,
    float("nan"), float("inf"), [], {}, [[]], [None] * 50, {"a": {"b": []}}, [{"user_id": 1}], [1, "Ann"],
    {"1": "Ann"}, "../../private/private.wav", "../private/bashrc", "/etc/passwd", "/dev/zero", "..", ".", "/",
    "audio", "capture.jsonl", "a\0b", "CON", "A" * 70_000, "====", "2026-11-22T22:15:00Z", "9" * 5000,
    1_738_394_112_345, 1_738_394_112_345_000, 1_738_394_112, -5, 34_560_000.0,
)  # fmt: skip
TOKENS = (
    b"\0", b"\n", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"[", b"{", b"}", b"]", b'"', b",", b"\\ud83d", b"\x1b[2J",
    b"NaN", b"1e400", b"-1", b"99999999999999999999", b"null", b"true", b"[" * 3000, b'{"a":' * 3000, b"\xed\xa0\xbd",
    b" " * 5000, b"9" * 5000, b"\\u0000", b"=", b"#", b"'''", b"-->",
    b"00:00:00,000", b"in", b"out", b"state", b"webhook",
)  # fmt: skip


def mutated_bytes(rng: random.Random, content: bytes) -> bytes:
    """A few random edits."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        end = min(len(content), at + rng.choice((1, 2, 8, 100, 1000)))
        match rng.randrange(6):
            case 0 if content:
                at = rng.randrange(len(content))
                content = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
            case 1:
                content = content[:at] + content[end:]
            case 2:
                content = content[:end] + content[at:]
            case 3:
                content = content[:at] + rng.choice(TOKENS) + content[at:]
            case 4:
                content = content[:at] + rng.randbytes(end - at) + content[end:]
            case _:
                content = content[:at]
    return content


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder in a value, with each of its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inner):
        yield value, key
        yield from places(one)


def extreme(rng: random.Random, value: Any) -> Any:
    """The value with others of the same types in some of its places, so that strict readers take it."""
    value = copy.deepcopy(value)
    found = [(holder, key) for holder, key in places(value) if isinstance(holder[key], int | float | str)]
    for holder, key in rng.sample(found, min(len(found), rng.choice((1, 2, 3, 10, 100)))):
        old = holder[key]
        kind = int if isinstance(old, int) else float if isinstance(old, float) else str
        holder[key] = rng.choice([odd for odd in ODD if type(odd) is kind and not _is_huge(odd)])
    return value


def _is_huge(odd: Any) -> bool:
    """Whether strict readers take no such number."""
    return isinstance(odd, int | float) and not abs(odd) < (1 << 63 if isinstance(odd, int) else math.inf)


def mutated_json(rng: random.Random, value: Any) -> Any:
    """The value with other ones in some of its places."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        found = list(places(value))
        odd = copy.deepcopy(rng.choice(ODD))
        if not found:
            return odd
        holder, key = rng.choice(found)
        old = holder[key]
        match rng.randrange(12):
            case 0:
                del holder[key]
            case 1:
                other, name = rng.choice(found)
                try:
                    holder[key] = copy.deepcopy(other[name])
                except (KeyError, IndexError):
                    pass  # an edit before this one took it away
            case 2:
                holder[key] = [old]
            case 3:
                holder[key] = str(old)
            case 4 if isinstance(old, list):
                holder[key] = {str(number): one for number, one in enumerate(old)}
            case 5 if isinstance(old, list) and old:
                holder[key] = old * rng.choice((2, 100))
            case 6 if isinstance(old, int | float) and abs(old) < 1 << 64:
                holder[key] = rng.choice((-old, old * 1000, old / 1000, old + 1, str(old), float(old)))
            case 7 if isinstance(old, str):
                at = rng.randrange(len(old) + 1)
                holder[key] = old[:at] + rng.choice((HOSTILE, "\ud83d", "../", "\0", "é")) + old[at:]
            case 8 if isinstance(holder, dict):
                holder[rng.choice(("x", HOSTILE, "\ud83d", "user_id", "t"))] = odd
            case _:
                holder[key] = odd
        if len(json.dumps(value)) > 2_000_000:
            return old
    return value


def written(value: Any) -> bytes:
    """As JSON; NaN stays what it is, and lone surrogates are escapes."""
    return json.dumps(value).encode()


def mutated_lines(rng: random.Random, content: bytes) -> bytes:
    """JSON lines of which a few are changed, moved, doubled or taken away."""
    lines = content.splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2, 3, 10))):
        if not lines:
            break
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                lines[at] = mutated_bytes(rng, lines[at])
            case 1:
                del lines[at]
            case 2:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 3:
                lines[at] = written(rng.choice(ODD)) + b"\n"
            case _:
                try:
                    lines[at] = written(mutated_json(rng, json.loads(lines[at]))) + b"\n"
                except (ValueError, RecursionError):
                    lines[at] = mutated_bytes(rng, lines[at])
    return b"".join(lines)


def mutated_text(rng: random.Random, content: bytes) -> bytes:
    """Lines of any text, mixed up."""
    if rng.random() < 0.5:
        return mutated_bytes(rng, content)
    lines = content.splitlines(keepends=True)
    for _ in range(rng.choice((1, 2, 4))):
        if lines:
            at = rng.randrange(len(lines))
            lines[at] = rng.choice(
                (mutated_bytes(rng, lines[at]), lines[rng.randrange(len(lines))], b"", lines[at] * 20)
            )
    return b"".join(lines)


def in_place(path: Path, rng: random.Random, private: Path) -> None:
    """Put something else in the place of a file or a folder."""
    kind = rng.choice(_PLANTED)
    if path.is_dir() and not path.is_symlink():
        moved = path.with_name(f"{path.name}.moved")
        path.rename(moved)
        if rng.random() < 0.2:
            path.symlink_to(moved.name)  # inside: as good as the folder itself, or told
            return
    else:
        path.unlink(missing_ok=True)
    kind(path, private)


def _hard_link(path: Path, private: Path) -> None:
    os.link(private / ("private.wav" if path.suffix == ".wav" else "bashrc"), path)


_PLANTED: tuple[Callable[[Path, Path], object], ...] = (
    lambda path, private: path.symlink_to(private / "bashrc"),
    lambda path, private: path.symlink_to(private / "private.wav"),
    lambda path, private: path.symlink_to(os.path.relpath(private / "meeting" / path.name, path.parent)),
    lambda path, private: path.symlink_to(private),
    lambda path, private: path.symlink_to(private / "new"),
    lambda path, private: path.symlink_to("/dev/zero"),
    lambda path, private: path.symlink_to(path.name),
    _hard_link,
    lambda path, private: os.mkfifo(path),
    lambda path, private: path.mkdir(),
    lambda path, private: (path / "inner").mkdir(parents=True),
    lambda path, private: path.write_bytes(b""),
)
