"""Plain lines and JSON lines: what goes by, for logs and for scripts.

JSON lines are one object an event, with these names: `event` (`notice`, `started`, `frame`, `progress`, `finished`,
`tap`, `hook`, `notify`, `events`, `remote`, `fleet`), `stream_id`, `folder` (null where nothing is recorded), `text`
of what is said to people; a `frame` has `at` (seconds), `channel`, `direction`, `via` (of a webhook), `gist`, and
`message` (the JSON as it came, without media packets and phone numbers, and redacted like a capture; of more than 64
KiB only the size); a `progress` has `packets`, `bytes`, `losses`; a `finished` has `status`, `reason`, `said_by` and
the manifest's `tracks` and `losses`; a `notify` has `url`, `state` (`failing`, `working`, `gone`, `notice`, `left`
at the end), `why`, `waiting`; a `hook` (a command of `--on` that has ended) has `hook` (when it ran), `command`,
`exit_code`, `seconds`, `timed_out`, `log`; an `events` (the event WebSocket) has `state` (`connected`, `lost`, `not
connected`, `taken over`, …), `why`, `retry_s`, and behind a gap `gap_seconds`, `gap_from`, `gap_until`, `running`,
`interrupted`; a `remote` (Zoom's REST API) has `state`, `action`, `product`, `id`, `http_status`, `tries`,
`token_flow`; a `fleet` (workers that share the streams) has `what`, `worker`, and of a stream `stream_id`, `epoch`,
`recording`.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from rtms_cli.capture import capture_line, kept_raw
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse, Unreadable, loads
from rtms_cli.protocol.numbers import Product, StopReason
from rtms_cli.protocol.parties import without_phone_numbers
from rtms_cli.protocol.times import clock_time, spoken_length
from rtms_cli.protocol.webhooks import Stream, UnreadableWebhook
from rtms_cli.recording.manifest import Manifest, TapEntry, TrackEntry
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.view.console import has_color, is_for_people, make_console
from rtms_cli.view.gist import frame_line, gist
from rtms_cli.view.output import MISSED, LineOutput
from rtms_cli.view.text import escape, json_line, size_of

MOST_SHOWN = 1 << 16
"""Bytes of a message that is shown whole."""


class PlainLines:
    """Writes a line for everything worth one; keep-alives and media packets only show in the progress lines."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._output = LineOutput(out or sys.stdout)
        self._has_color = has_color(out)
        self._products: dict[str, Product] = {}

    def on_notice(self, text: str) -> None:
        """Something that concerns no stream that runs."""
        self._say(escape(text))

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Something that scripts may want to know of."""
        self._say(escape(text))

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording began."""
        self._products[stream.stream_id] = stream.product
        what = f"{stream.product.title} {escape(stream.id)}"
        doing = f"following {what}" if folder is None else f"recording {what} to {escape(str(folder))}"
        self._say(f"{_short(stream.stream_id)} {doing}")

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is no media packet."""
        if isinstance(frame.message, KeepAliveRequest | KeepAliveResponse):
            return
        product = self._products.get(stream_id, Product.MEETING)
        self._say(f"{_short(stream_id)} {frame.at_us / 1_000_000:8.3f} {frame_line(frame, product)}")

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """How far every stream is; now and then."""
        for stream_id, snapshot in snapshots.items():
            packets, nbytes = sum(snapshot.counts.values()), sum(snapshot.nbytes.values())
            losses = f", {snapshot.losses} LOSSES" if snapshot.losses else ""
            self._say(
                f"{_short(stream_id)} {snapshot.at_us / 1_000_000:8.3f} "
                f"{packets} messages, {size_of(nbytes)}, {len(snapshot.tracks)} files{losses}"
            )

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A session ended."""
        reason = "" if finish.stop_reason is None else f", reason {StopReason.label(finish.stop_reason)}"
        self._say(f"{_short(stream.stream_id)} {finish.status}{reason} ({escape(finish.said_by)})")
        for line in () if manifest is None else summary_lines(manifest):
            self._say(line)

    def close(self) -> None:
        """Write what waits."""
        self._output.close()

    def _say(self, line: str) -> None:
        self._output.say(_colored(line) if self._has_color else line)


class JsonLines:
    """Writes one JSON object an event; see the module's text for its names."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._output = LineOutput(out or sys.stdout, lambda count: json_line(_notice(MISSED.format(count))))
        self._products: dict[str, Product] = {}

    def on_notice(self, text: str) -> None:
        """Something that concerns no stream that runs."""
        self._say(_notice(text))

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Something that scripts may want to know of."""
        self._say({"event": name, **fields, "text": text})

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording began."""
        self._products[stream.stream_id] = stream.product
        self._say(
            {
                "event": "started",
                "stream_id": stream.stream_id,
                "product": stream.product,
                "id": stream.id,
                "folder": None if folder is None else str(folder),
            }
        )

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is no media packet."""
        self._say(
            {
                "event": "frame",
                "stream_id": stream_id,
                "at": frame.at_us / 1_000_000,
                "channel": frame.channel,
                "direction": frame.direction,
                **({"via": frame.via} if frame.via else {}),
                "gist": gist(frame, self._products.get(stream_id, Product.MEETING)),
                "message": _message(frame),
            }
        )

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """How far every stream is; now and then."""
        for stream_id, snapshot in snapshots.items():
            self._say(
                {
                    "event": "progress",
                    "stream_id": stream_id,
                    "at": snapshot.at_us / 1_000_000,
                    "packets": snapshot.counts,
                    "bytes": snapshot.nbytes,
                    "losses": snapshot.losses,
                }
            )

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A session ended."""
        self._say(
            {
                "event": "finished",
                "stream_id": stream.stream_id,
                "folder": None if folder is None else str(folder),
                "status": finish.status,
                "reason": finish.stop_reason,
                "said_by": finish.said_by,
                "tracks": () if manifest is None else manifest.tracks,
                "losses": () if manifest is None else manifest.losses,
            }
        )

    def close(self) -> None:
        """Write what waits."""
        self._output.close()

    def _say(self, value: object) -> None:
        self._output.say(json_line(value))


def _message(frame: Frame) -> object:
    if len(frame.raw) > MOST_SHOWN:
        return f"… ({len(frame.raw):,} bytes)"
    if b"phone_number" in frame.raw and not isinstance(frame.message, Unreadable | UnreadableWebhook):
        return without_phone_numbers(loads(kept_raw(frame)))
    try:
        line = msgspec.json.decode(capture_line(frame), type=dict[str, object])
        return line.get("data", line.get("text", line.get("base64")))
    except msgspec.MsgspecError:  # lone surrogates, which the capture keeps
        return loads(kept_raw(frame))


def _notice(text: str) -> dict[str, object]:
    return {"event": "notice", "text": text}


def print_summary(folder: Path | None, manifest: Manifest, *, as_json: bool, out: TextIO | None = None) -> None:
    """What was written, and where: a table on a terminal, lines elsewhere, or the manifest as JSON.

    :param folder: `None` where nothing is kept.
    :param out: where it goes, if not to standard output.
    """
    out = out or sys.stdout
    if as_json:
        out.write(json_line({"folder": folder, "manifest": manifest}) + "\n")
    elif folder is not None and is_for_people(out):
        from rtms_cli.view.table import summary_table

        make_console(out).print(summary_table(folder, manifest))
    else:
        where = "nothing is kept" if folder is None else escape(str(folder))
        out.write("\n".join([where, *summary_lines(manifest)]) + "\n")


def summary_lines(manifest: Manifest) -> Sequence[str]:
    """What was written: a line a file."""
    lines = [f"  {escape(track.path)}  {'  '.join(track_facts(track))}" for track in manifest.tracks]
    lines += [f"  tap {tap_facts(tap)}" for tap in manifest.taps]
    lines += [f"  warning: {escape(warned.text)}" for warned in manifest.warnings]
    lines += [f"  LOSS: {escape(loss.what)} in {escape(loss.where)} ({loss.count})" for loss in manifest.losses]
    return lines


def tap_facts(tap: TapEntry) -> str:
    """A tap's facts for people: what, where to, how much, and what it did not get."""
    whose = tap.user_name or ("" if tap.user_id is None else str(tap.user_id))
    facts = [f"{tap.what}{f' of {escape(whose)}' if whose else ''} → {escape(tap.target)}", size_of(tap.bytes)]
    if tap.drops:
        facts.append(f"{tap.drops} DROPPED" + (f" ({tap.dropped_seconds:.1f} s)" if tap.dropped_seconds else ""))
    if tap.late_seconds:
        facts.append(f"{tap.late_seconds:.1f} s late")
    if tap.restarts:
        facts.append(f"{tap.restarts} restarts")
    if tap.exit_code is not None:
        facts.append(f"exit code {tap.exit_code}")
    return "  ".join(facts)


def track_facts(track: TrackEntry) -> list[str]:
    """A file's facts for people: duration, how much, who."""
    unit = {"audio": "packets", "video": "frames", "share": "frames"}.get(track.kind, "lines")
    facts = [] if track.duration is None else [clock_time(round(track.duration))]
    facts += [f"{track.packets} {unit}", size_of(track.bytes)]
    if track.user_name:
        facts.append(escape(track.user_name))
    if track.gap_count:
        missing = sum(end - start for start, end in track.gaps)
        facts.append(f"{track.gap_count} gaps of {spoken_length(missing)} in all")
    return facts


_COLORS = (
    (re.compile(r"LOSS(?:ES)?\b|\bfailed\b|\brevoked\b"), "\x1b[31m"),
    (re.compile(r"WARNING\b|\bwarning:|\binterrupted\b"), "\x1b[33m"),
    (re.compile(r"^\S+ complete\b"), "\x1b[32m"),
)


def _colored(line: str) -> str:
    """The line in the colour of what it tells: a loss or a failure, a warning, a recording that is complete."""
    color = next((color for told, color in _COLORS if told.search(line)), "")
    return f"{color}{line}\x1b[0m" if color else line


def _short(stream_id: str) -> str:
    return escape(stream_id[:8])
