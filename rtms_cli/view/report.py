"""What a simulated Zoom says about the clients that it served."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from rtms_cli.protocol.numbers import StatusCode
from rtms_cli.simulator.cloud_report import CloudReport
from rtms_cli.simulator.zoom import Finding, Report
from rtms_cli.view.console import make_console
from rtms_cli.view.next_steps import command_line, next_steps
from rtms_cli.view.output import drop_dead_output
from rtms_cli.view.text import escape, json_line


def suggest_join(payload: Path) -> None:
    """Say on standard error how to record what is announced in a file."""
    next_steps(make_console(sys.stderr), [(command_line("rtms", "join", payload), "record it, from another terminal")])


def print_reports(
    reports: Sequence[Report], *, as_json: bool, cloud: CloudReport | None = None, payload: Path | None = None
) -> None:
    """What the clients did, and what they did wrong, on standard output, if anyone can still read it.

    :param cloud: what they did with the cloud beside the streams, where there was one.
    :param payload: the file that announced the first stream, if there is one.
    """
    drop_dead_output()  # the terminal may be closed, but the exit code still counts
    if as_json:
        typer.echo(json_line(reports if cloud is None else {"cloud": cloud, "streams": reports}))
        return
    if cloud is not None:
        _print_cloud(cloud)
    for report in reports:
        typer.echo(f"{report.product} {report.stream_id[:8]}: {_progress(report)}")
        _print_findings(report.findings)
    wrong = sum(len(report.mistakes) for report in (*reports, *(() if cloud is None else (cloud,))))
    refused = sum(sum(report.refused_on_purpose.values()) for report in reports)
    if wrong:
        typer.secho(f"{wrong} {'finding' if wrong == 1 else 'findings'}: the client broke the protocol.", fg="red")
    elif refused:
        times = "once" if refused == 1 else f"{refused} times"
        typer.secho(f"clean: the client was refused {times}, as the scenario says, and did nothing wrong.", fg="green")
    elif cloud is not None or any(report.joined for report in reports):
        typer.secho("clean: the client did everything right.", fg="green")
    else:
        typer.secho("No client came, so nothing was checked.", fg="yellow")
    if payload is not None and any(_WRONG_SIGNATURE in report.refused for report in reports):
        steps = [(command_line("rtms", "sign", "handshake", payload), "the signature that it needs")]
        next_steps(make_console(), steps)


_WRONG_SIGNATURE = StatusCode.label(StatusCode.STATUS_INVALID_SIGNATURE)


def _progress(report: Report) -> str:
    """How far the client came, and what it was sent."""
    planned, refused = (", ".join(_times(each)) for each in (report.refused_on_purpose, report.refused))
    said = [f"refused with {refused}"] if refused else []
    said += [f"refused as the scenario says, with {planned}"] if planned else []
    if not report.joined:
        return "; ".join(said) or "no client came"
    media = {name: count for name, count in report.sent.items() if name.startswith("MEDIA_DATA_")}
    sent = ", ".join(f"{count} {name.removeprefix('MEDIA_DATA_').lower()}" for name, count in media.items())
    slowest = f", slowest {report.slowest_answer_ms:.0f} ms" if report.slowest_answer_ms is not None else ""
    said.append("ready" if report.ready else "joined, but never ready")
    said.append(f"sent {sent or 'no media'}")
    said.append(f"keep-alives {report.answered}/{report.keep_alives} answered{slowest}")
    return "; ".join(said)


def _times(refusals: Mapping[str, int]) -> Sequence[str]:
    return [status if count == 1 else f"{status} ({count} times)" for status, count in refusals.items()]


def _print_cloud(report: CloudReport) -> None:
    events = report.events
    parts = [
        f"tokens: {report.tokens} given",
        f"calls: {report.calls} answered, {report.refused} refused",
        f"event connections: {events.connections} built, {events.refused} refused, {events.replaced} replaced",
        f"heartbeats: {events.heartbeats} answered",
        f"events: {events.delivered} delivered, {events.lost} lost"
        + (f", {events.elsewhere} to someone else" if events.elsewhere else ""),
    ]
    typer.echo(f"cloud: {'; '.join(parts)}")
    _print_findings(report.findings)


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        where = f"{finding.at_ms / 1000:8.3f} {finding.channel or '-'}"
        mark, colour = ("WRONG", "red") if finding.is_wrong else ("note ", "yellow")
        typer.secho(f"  {mark} {where}: {escape(finding.what)}", fg=colour)


def print_finding(finding: Finding) -> None:
    """Tell of a finding at once, on standard error: the report comes when the client has gone."""
    drop_dead_output()
    typer.echo(f"{'wrong' if finding.is_wrong else 'note'}: {finding.channel or '-'}: {escape(finding.what)}", err=True)
