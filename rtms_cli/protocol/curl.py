"""What a command line posts: curl's or wget's, as POSIX shells, PowerShell and Windows' cmd write them."""

import re
import shlex

_COMMAND = re.compile(r"^[^\n{}\"'“‘]{0,80}?\b(?:curl|wget)(?:\.exe)?[ \t\"'^`\\]", re.MULTILINE)
_ANSI_C = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_LONG = (
    *("--data-raw", "--data-binary", "--data-ascii", "--data-urlencode", "--data", "--json"),
    *("--post-data", "--body-data"),
)
_SHORT = re.compile(r"^-[sSvikLfgNjn#]*d(?P<body>.*)$", re.DOTALL)
_FILES = ("--post-file", "--body-file", "-T", "--upload-file")
_FORMS = ("-F", "--form", "--form-string")


def posted_by(text: str) -> str | None:
    """The body that the first command in a text posts; `None` if there is no command.

    :raises ValueError: if it posts a file, a form, or nothing.
    """
    found = _COMMAND.search(text)
    if found is None:
        return None
    what = "curl" if "curl" in found[0] else "wget"
    command = text[found.start() :].partition("\n```")[0].replace("\r\n", "\n").rstrip("`\n ")
    try:
        words = shlex.split(_as_posix(command))
    except ValueError as error:
        raise ValueError(f"it is a {what} command that ends in the middle ({error})") from None
    body = _body(words, what)
    if body.startswith("$("):
        raise ValueError(f"it is a {what} command that posts what another one prints: give that")
    return body


def _as_posix(command: str) -> str:
    if '^"' in command or "^\n" in command:  # Windows' cmd
        command = re.sub(r"\^(.)", lambda match: " " if match[1] == "\n" else match[1], command, flags=re.DOTALL)
    elif "`\n" in command or "curl.exe" in command:  # PowerShell
        command = command.replace("`\n", " ").replace("''", "'\\''")
    quoted = _ANSI_C.sub(lambda match: shlex.quote(_unescape(match[1])), command)
    return quoted.replace("\\\n", " ")


def _body(words: list[str], what: str) -> str:
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        short = _SHORT.match(word)
        if name in _FORMS:
            raise ValueError(f"it is a {what} command that posts a form, not JSON")
        if name not in (*_LONG, *_FILES) and short is None:
            continue
        if short is not None and short["body"]:
            value = short["body"].removeprefix("=")
        elif not equals:
            value = words[index + 1] if index + 1 < len(words) else ""
        if value.startswith("@") or name in _FILES:
            file = value.removeprefix("@")
            raise ValueError(
                f"it is a {what} command that posts "
                + ("its standard input: give that" if file == "-" else f"a file: give {file}")
            )
        return value
    raise ValueError(f"it is a {what} command without a body (-d)")


def _unescape(text: str) -> str:
    plain = {"n": "\n", "t": "\t", "r": "\r"}

    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "ux" and len(code) > 1 else plain.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", one, text, flags=re.DOTALL)
