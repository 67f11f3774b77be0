"""What a shell offers for the values of options and arguments when someone presses Tab.

Each function returns the values that begin with what is written so far. None raises: a completion that fails shows a
traceback in the middle of someone's command line.
"""

from collections.abc import MutableMapping

from rtms_cli.errors import Problem

Offers = list[str] | list[tuple[str, str]]
"""The values; or each with a few words about it, for shells that show them."""

_AUDIO = ("l16", "opus", "g711", "g722")
_PICTURES = ("h264", "jpg", "png")
STREAM_EVENTS = ("started", "stopped", "interrupted")
WEBHOOK_EVENTS = ("url_validation", *STREAM_EVENTS, "concurrency_limited", "concurrency_near_limit", "start_failed")
"""What `rtms trigger` posts."""


def join_equals_signs(environment: MutableMapping[str, str]) -> None:
    """Let `--media=a` complete as `--media a` does: bash makes a word of the sign, and Typer takes it for the value.

    :param environment: what bash has set for a completion is changed in it.
    """
    words, at = environment["COMP_WORDS"].split("\n"), int(environment["COMP_CWORD"])
    before = [word for word in words[:at] if word != "="]
    environment["COMP_WORDS"] = "\n".join([*before, *words[at:]])
    environment["COMP_CWORD"] = str(len(before))


def _beginning(values: "list[str] | tuple[str, ...]", incomplete: str) -> list[str]:
    return [value for value in values if value.casefold().startswith(incomplete.casefold())]


def _in_a_list(values: "list[str] | tuple[str, ...]", incomplete: str) -> list[str]:
    """The next value of several that are separated by commas."""
    before, comma, last = incomplete.rpartition(",")
    used = before.split(",")
    return [before + comma + value for value in _beginning(values, last) if value not in used]


def media_kinds(incomplete: str) -> Offers:
    """Kinds of media, also after a comma."""
    from rtms_cli.protocol.media import MEDIA_NAMES

    names = list(MEDIA_NAMES.values())
    return _in_a_list(names if "," in incomplete else [*names, "all"], incomplete)


def audio_codecs(incomplete: str) -> Offers:
    """Codecs of audio."""
    return _beginning(_AUDIO, incomplete)


def picture_codecs(incomplete: str) -> Offers:
    """Codecs of video and share."""
    return _beginning(_PICTURES, incomplete)


def languages(incomplete: str) -> Offers:
    """Languages of transcripts."""
    from rtms_cli.protocol.numbers import Language

    found = {"".join(filter(str.isalpha, one.gist.lower())): one.gist for one in Language if one >= 0}
    return [(name, found[name]) for name in _beginning(list(found), incomplete)]


def hook_events(incomplete: str) -> Offers:
    """Events that `--on` takes, with the sign that follows them."""
    return _beginning(("started=", "interrupted=", "finished=", "failed="), incomplete)


def token_flows(incomplete: str) -> Offers:
    """Ways to obtain a token."""
    return _beginning(("client_credentials", "account_credentials", "access_token"), incomplete)


def choice_of_streams(incomplete: str) -> Offers:
    """Values of `--only`."""
    return _beginning(("host", "first", "all"), incomplete)


def log_formats(incomplete: str) -> Offers:
    """Values of `--log-format`."""
    return _beginning(("json", "text"), incomplete)


def product(incomplete: str) -> Offers:
    """One product."""
    return _beginning(_product_names(), incomplete)


def products(incomplete: str) -> Offers:
    """Products, also after a comma."""
    names = _product_names()
    return _in_a_list(names if "," in incomplete else [*names, "all"], incomplete)


def _product_names() -> list[str]:
    from rtms_cli.protocol.numbers import Product

    return [str(one) for one in Product]


def export_formats(incomplete: str) -> Offers:
    """Formats of `rtms export`, also after a comma."""
    from rtms_cli.export.formats import FORMATS

    return _in_a_list(FORMATS, incomplete)


def layouts(incomplete: str) -> Offers:
    """Values of `--layout`."""
    return _beginning(("video", "share", "side"), incomplete)


def statuses(incomplete: str) -> Offers:
    """Statuses of recordings."""
    return _beginning(("complete", "interrupted", "failed", "revoked", "recording", "unfinished"), incomplete)


def webhook_events(incomplete: str) -> Offers:
    """Events that `rtms trigger` posts."""
    return _beginning(WEBHOOK_EVENTS, incomplete)


def speeds(incomplete: str) -> Offers:
    """Values of `replay --speed`."""
    return _beginning(("max", "1", "2", "4", "10"), incomplete)


def rules(incomplete: str) -> Offers:
    """Rules of `rtms inspect --lint`."""
    from rtms_cli.inspection.lint import SECTIONS

    return _beginning(list(SECTIONS), incomplete)


def scenarios(incomplete: str) -> Offers:
    """Built-in scenarios, each with what happens in it; a file is completed by the shell."""
    from rtms_cli.simulator.scenario_file import built_in

    return [(file.name, file.description) for file in built_in() if file.name.startswith(incomplete)]


def commands(incomplete: str) -> Offers:
    """Commands that have settings."""
    from rtms_cli.commands.listing import COMMANDS

    return _beginning([name for name in COMMANDS if name not in ("config", "sign")], incomplete)


def recordings(incomplete: str) -> Offers:
    """`latest` and the recordings in the folder where they go, newest first; for a path, the shell's own files."""
    import os
    from pathlib import Path

    from rtms_cli.catalog.entries import folders
    from rtms_cli.commands.settings import read_defaults

    if "/" in incomplete:
        return []
    try:
        place = read_defaults(Path(), os.environ, lambda *_: None).values.get("listen", {}).get("place", "recordings")
        names = sorted((path.name for path in folders(Path(str(place))) if path.name.isprintable()), reverse=True)
    except (OSError, Problem):
        names = []
    return _beginning(["latest", *names] if names else [], incomplete)
