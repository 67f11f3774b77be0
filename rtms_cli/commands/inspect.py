"""`rtms inspect`: what a capture contains."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.catalog.finding import LATEST
from rtms_cli.commands import completing
from rtms_cli.commands.options import StoreEndpoint, open_capture, recording_of, time_option
from rtms_cli.errors import Exit, Problem, reason_of
from rtms_cli.untrusted import is_folder

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.inspection.filters import Seen, Wanted
    from rtms_cli.inspection.reading import Line, Piece
    from rtms_cli.inspection.summary import Summary
    from rtms_cli.recording.manifest import Manifest

FOLLOW_S = 0.2
"""How often `--follow` looks for new lines."""
PIPED_WIDTH = 100
MOST_ROWS = 10
"""Rows of the table of media, at least; a terminal that is higher shows more."""
REST_LINES = 14
"""Lines of the overview around that table, at most where nothing went wrong."""


def inspect(
    context: typer.Context,
    capture: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECORDING]",
            help="A recording's folder or URL, or a capture file (.gz and .zst too).",
            autocompletion=completing.recordings,
            show_default="the newest one in recordings",
        ),
    ] = None,
    messages: Annotated[bool, typer.Option("--messages", help="List the messages.")] = False,
    lint: Annotated[
        bool, typer.Option("--lint", help="Check it against the protocol; exit code 1 for findings.")
    ] = False,
    explain: Annotated[
        str,
        typer.Option(
            metavar="RULE", help="Print what the protocol says about a rule of --lint.", autocompletion=completing.rules
        ),
    ] = "",
    timeline: Annotated[bool, typer.Option("--timeline", help="Draw a timeline.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Print every table, not only one screen.")] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one HTML page.")] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only this type of message: audio, EVENT_UPDATE, 12."),
    ] = None,
    channel: Annotated[
        str, typer.Option(metavar="CHANNEL", help="Only this channel: webhook, signaling, media, media.audio, …")
    ] = "",
    user: Annotated[str, typer.Option(metavar="USER", help="Only messages about this user id or name.")] = "",
    start: Annotated[
        float | None,
        typer.Option("--from", metavar="TIME", parser=time_option("--from"), help="Only from this time on: 90, 1:30."),
    ] = None,
    end: Annotated[
        float | None,
        typer.Option("--until", metavar="TIME", parser=time_option("--until"), help="Only up to this time."),
    ] = None,
    grep: Annotated[
        str, typer.Option(metavar="REGEX", help="Only messages that this regular expression matches.")
    ] = "",
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most N messages.", min=1)] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more messages.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print messages as JSON, with media cut short.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Do not cut media short.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --messages or --lint one object per line.")
    ] = False,
    store_endpoint: StoreEndpoint = None,
) -> None:
    """Show what a recording holds, and check it.

    \b
    Examples:
      rtms inspect
      rtms inspect recordings/20261122T221500Z_meeting_abc
      rtms inspect capture.jsonl --messages --type EVENT_UPDATE --raw
      rtms inspect capture.jsonl --lint
      rtms inspect --explain connection-silent
      rtms inspect --html meeting.html
    """
    from rtms_cli.inspection.filters import Wanted, read_types
    from rtms_cli.inspection.reading import numbered
    from rtms_cli.view.output import end_with_reader

    filters = {
        "--type": kinds, "--channel": channel, "--user": user, "--from": start is not None, "--until": end is not None,
        "--grep": grep, "--limit": limit, "--follow": follow, "--raw": raw, "--full": full,
    }  # fmt: skip
    given = [name for name, value in filters.items() if value]
    modes = (messages, lint, timeline, html is not None, bool(explain))
    _check_modes(modes, as_json, given)
    if everything and (as_json or any(modes)):
        raise Problem("--all goes with the summary.", "Leave it out: the other forms have everything.")
    if start is not None and end is not None and start > end:
        raise Problem(
            f"--from {start:g} --until {end:g} ends before it begins.", "Use a time for --until that is after --from."
        )
    if explain:
        _explain(explain, as_json=as_json)
        return
    wanted = Wanted(read_types(kinds or ()), channel, user, start, end)
    pattern = _pattern(grep)
    name = capture or LATEST
    capture = recording_of(context, capture, "inspecting", store_endpoint, or_newest_in=True)
    source = open_capture(capture, store_endpoint)
    folder = Path(capture) if is_folder(Path(capture)) else None
    clean = True
    end_with_reader()
    try:
        if messages:
            lines = _followed(source) if follow else numbered(source)
            _messages(source, lines, wanted, pattern, limit, raw=raw, full=full, as_json=as_json, flush=follow)
        elif lint:
            clean = _lint(source, _read(source), as_json=as_json)
        elif html is not None:
            _html(source, _read(source), folder, html)
        elif timeline:
            _timeline(source, _read(source), as_json=as_json)
        else:
            _summary(source, _read(source), folder, name, as_json=as_json, everything=everything)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`); Python must not complain about it at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not clean:
        raise typer.Exit(Exit.MISMATCH)


def _check_modes(modes: tuple[bool, bool, bool, bool, bool], as_json: bool, filters: list[str]) -> None:
    messages, _, _, html, _ = modes
    if sum(modes) > 1:
        raise Problem("--messages, --lint, --timeline, --html and --explain exclude each other.", "Use one of them.")
    if html and as_json:
        raise Problem("--html and --json exclude each other.", "Use one of them.")
    if filters and not messages:
        goes = "goes" if len(filters) == 1 else "go"
        raise Problem(f"{' and '.join(filters)} {goes} with --messages.", "Add --messages.")
    if "--full" in filters and not (as_json or {"--raw", "--grep"} & set(filters)):
        raise Problem("--full needs --raw, --grep or --json.", "Add one of them.")


def _read(source: "Capture") -> "Iterator[Piece]":
    """The capture's lines, media in runs, with a progress bar."""
    from rtms_cli.inspection.reading import in_pieces
    from rtms_cli.view.progress import with_progress

    return with_progress(in_pieces(source), source.nbytes, lambda: source.position, "reading")


def _pattern(grep: str) -> re.Pattern[str]:
    try:
        return re.compile(grep, re.IGNORECASE)
    except re.error as error:
        raise Problem(
            f"--grep {grep!r} is not a regular expression: {error}.", "Put \\ before ( [ { * + ? . | ^ $"
        ) from None


def _followed(source: "Capture") -> "Iterator[Line]":
    import time

    from rtms_cli.inspection.reading import follow

    return follow(source, lambda: time.sleep(FOLLOW_S))


def _summary(
    source: "Capture", lines: "Iterable[Piece]", folder: Path | None, name: str, *, as_json: bool, everything: bool
) -> None:
    from msgspec import to_builtins
    from msgspec.structs import replace

    from rtms_cli.inspection.overview import overview, verdict_of
    from rtms_cli.inspection.sheets import sheets
    from rtms_cli.inspection.sound import look_at
    from rtms_cli.inspection.summary import summarize
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.inspect import plain_sheets, rich_sheets
    from rtms_cli.view.next_steps import next_steps
    from rtms_cli.view.text import escape

    summary = summarize(source.shown, source.header, lines)
    manifest = None
    if folder is not None:
        summary = replace(summary, recorded=look_at(folder)[0])
        manifest = _manifest(folder)
    verdict = verdict_of(summary, manifest)
    if as_json:
        _say_json({"verdict": verdict} | to_builtins(summary, enc_hook=str))
        return
    verdict = escape(verdict)
    if not is_for_people():
        _say(verdict)
        for line in plain_sheets(sheets(summary) if everything else overview(summary, manifest, MOST_ROWS)):
            _say(line)
        return
    console = make_console()
    console.print(verdict, style="bold", markup=False)
    made = sheets(summary) if everything else overview(summary, manifest, max(MOST_ROWS, console.height - REST_LINES))
    console.print(rich_sheets(made, console.width))
    status = summary.status if manifest is None else manifest.status
    next_steps(console, _next(summary, status, name, everything=everything))


def _manifest(folder: Path) -> "Manifest | None":
    """A recording's manifest; its status is `unfinished` where the process died that recorded it."""
    from rtms_cli.catalog.entries import entry_of
    from rtms_cli.recording.manifest import Manifest

    try:
        manifest = Manifest.read(folder)
    except (OSError, ValueError):  # the summary says why
        return None
    manifest.status = entry_of(folder).status
    return manifest


def _next(summary: "Summary", status: str, name: str, *, everything: bool) -> list[tuple[str, str]]:
    """The commands that make sense now, and what they do."""
    from rtms_cli.view.next_steps import command_line

    inspect = ("rtms", "inspect", name)
    if status == "recording":
        first = (command_line(*inspect, "--messages", "--follow"), "see what comes")
    elif summary.recorded is not None and (summary.recorded.problem or status == "unfinished"):
        first = (command_line("rtms", "repair", name), "finish it")
    elif summary.warnings or len(summary.connections) > len({one.channel for one in summary.connections}):
        first = (command_line(*inspect, "--timeline"), "when that was")
    else:
        first = (command_line(*inspect, "--lint"), "check it against the protocol")
    return [first] if everything else [first, (command_line(*inspect, "--all"), "every table")]


def _messages(
    source: "Capture",
    lines: "Iterable[Line]",
    wanted: "Wanted",
    pattern: re.Pattern[str],
    limit: int | None,
    *,
    raw: bool,
    full: bool,
    as_json: bool,
    flush: bool,
) -> None:
    from rtms_cli.inspection.filters import Seen, select, shown_json, type_of
    from rtms_cli.machine import Frame
    from rtms_cli.protocol.messages import dumps
    from rtms_cli.protocol.numbers import MessageType, Product
    from rtms_cli.view.gist import frame_line, gist
    from rtms_cli.view.text import escape

    product = Product(source.header.product) if source.header.product in tuple(Product) else Product.MEETING
    shown, seen = 0, Seen()
    for number, frame in select(lines, wanted, source.header.product, seen):
        if not isinstance(frame, Frame):
            if pattern.search(frame):
                _say_json({"line": number, "problem": frame}) if as_json else _say(f"{number:>7} {escape(frame)}")
                shown += 1
        else:
            line = frame_line(frame, product)
            needs_json = raw or as_json or bool(pattern.pattern)
            body = shown_json(frame, full=full) if needs_json else None
            text = dumps(body).decode() if needs_json else ""
            if pattern.pattern and not (pattern.search(line) or pattern.search(text)):
                continue
            shown += 1
            if as_json:
                kind = type_of(frame)
                _say_json(
                    {
                        "line": number,
                        "at": frame.at_us / 1_000_000,
                        "channel": frame.channel,
                        "direction": frame.direction.value,
                        **({"via": frame.via} if frame.via else {}),
                        "type": kind,
                        "name": MessageType.label(kind).partition(" ")[2] if isinstance(kind, int) else None,
                        "gist": gist(frame, product),
                        "message": body,
                    }
                )
            else:
                _say(f"{number:>7} {frame.at_us / 1_000_000:10.3f} {line}")
                if raw:
                    _say(escape(text, len(text)))
        if flush:
            sys.stdout.flush()
        if shown == limit:
            return
    if not shown:
        _explain_nothing(seen, wanted, pattern)


def _explain_nothing(seen: "Seen", wanted: "Wanted", pattern: re.Pattern[str]) -> None:
    """Say why no message was listed.

    :raises Problem: if a filter let nothing pass.
    """
    if (problem := seen.why_nothing(wanted)) is not None:
        raise problem
    given = {
        "--type": wanted.types, "--channel": wanted.channel, "--user": wanted.user,
        "--from": wanted.start is not None, "--until": wanted.end is not None, "--grep": pattern.pattern,
    }  # fmt: skip
    names = [name for name, value in given.items() if value]
    if names:
        remedy = f"Change {names[0]}." if len(names) == 1 else "Leave one of them out."
        raise Problem(f"No message matches {' and '.join(names)}.", remedy, Exit.MISMATCH)


def _lint(source: "Capture", lines: "Iterable[Piece]", *, as_json: bool) -> bool:
    from msgspec import to_builtins

    from rtms_cli.inspection.documents import sections
    from rtms_cli.inspection.lint import lint
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.next_steps import command_line, next_steps
    from rtms_cli.view.text import escape

    count, named, rule = 0, {}, ""
    for finding in lint(lines, source.header.product):
        count += 1
        rule = rule or finding.rule
        section = sections()[finding.section]
        if as_json:
            _say_json({**to_builtins(finding), "link": section.link})
        else:
            named[section.number] = section
            where = " ".join(part for part in (escape(finding.channel), escape(finding.text)) if part)
            _say(f"line {finding.line} at {finding.at:.3f}: {finding.rule} ({section.title}): {where}")
    if not as_json:
        for section in named.values():
            _say(f"{section.title}: {section.link}")
        _say(f"{count or 'no'} finding{'' if count == 1 else 's'}")
        if rule and is_for_people():
            explain = command_line("rtms", "inspect", "--explain", rule)
            next_steps(make_console(), [(explain, "what the protocol says about it")])
    return not count


def _explain(rule: str, *, as_json: bool) -> None:
    from rtms_cli.inspection.documents import sections
    from rtms_cli.inspection.lint import SECTIONS
    from rtms_cli.view.console import is_for_people, make_console

    if rule not in SECTIONS:
        raise Problem(f"--lint has no rule {rule!r}.", f"Its rules are {', '.join(SECTIONS)}.")
    section = sections()[SECTIONS[rule]]
    if as_json:
        _say_json(
            {
                "rule": rule,
                "section": section.number,
                "title": section.title,
                "link": section.link,
                "text": section.text,
            }
        )
    elif is_for_people():
        from rich.markdown import Markdown

        make_console().print(Markdown(f"# {rule}: {section.title}\n\n{section.text}\n\n{section.link}"))
    else:
        _say(f"{rule}: {section.title}\n\n{section.text}\n\n{section.link}")


def _html(source: "Capture", lines: "Iterable[Piece]", folder: Path | None, out: Path) -> None:
    from rtms_cli.inspection.page import link_from, page, save
    from rtms_cli.view.text import escape, size_of

    parts = list(page(source.header, lines, Path(source.shown), folder, link_from(out)))
    try:
        nbytes = save(parts, out)
    except OSError as error:
        what = f"Cannot write {out}: {reason_of(error)}."
        raise Problem(what, "Name a file in a folder that exists.") from None
    _say(f"{escape(str(out))}  {size_of(nbytes)}")


def _timeline(source: "Capture", lines: "Iterable[Piece]", *, as_json: bool) -> None:
    import shutil

    from rtms_cli.inspection.lanes import lanes
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.inspect import timeline

    found = lanes(lines, source.header.product)
    if as_json:
        _say_json(found)
        return
    on_terminal = is_for_people()
    width = shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if on_terminal else PIPED_WIDTH
    rows = timeline(found.lanes, found.seconds, width)
    if on_terminal:
        from rich.text import Text

        console = make_console()
        for label, bar, style in rows:
            console.print(Text.assemble((f"{label}  ", "dim"), (bar, style)), no_wrap=True, crop=True)
        console.print("█ all the time   ▓ ░ part of the time   • a message", style="dim")
    else:
        for label, bar, _ in rows:
            _say(f"{label}  {bar}".rstrip())
    if found.unlisted:
        _say(f"{found.unlisted} more lanes are not drawn")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _say_json(value: object) -> None:
    from rtms_cli.view.text import json_line

    _say(json_line(value))
