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
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO

import msgspec

from rtms_cli.capture import capture_line, kept_raw
from rtms_cli.machine import ChannelState, Finish, Frame, State
from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse, Unreadable, loads
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.parties import without_phone_numbers
from rtms_cli.protocol.webhooks import Stream, UnreadableWebhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.view.console import has_color, is_for_people, make_console
from rtms_cli.view.ended import Ended, Suggest, ended_lines, print_ended
from rtms_cli.view.gist import frame_line, gist
from rtms_cli.view.next_steps import step_lines
from rtms_cli.view.output import MISSED, LineOutput
from rtms_cli.view.text import escape, json_line, size_of

MOST_SHOWN = 1 << 16
"""Bytes of a message that is shown whole."""
MOST_ENDED = 100
"""Sessions that a view remembers for its end."""


class PlainLines:
    """Writes a line for everything worth one, with the time of day; media packets only show in the progress lines.

    What people say and write is not shown: only that they do, and how much.

    :param now: returns the time.
    :param is_quiet: shows warnings and how recordings end, nothing else.
    :param is_verbose: shows keep-alives too, and every file of a recording at its end.
    :param shows_text: shows transcripts and chat.
    :param suggest: says what to do next; asked at the end, where someone looks.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        *,
        now: Callable[[], datetime],
        is_quiet: bool = False,
        is_verbose: bool = False,
        shows_text: bool = False,
        suggest: Suggest = lambda ended: (),
    ) -> None:
        self._output = LineOutput(out or sys.stdout)
        self._suggest = suggest if is_for_people(out) else lambda ended: ()
        self._has_color = has_color(out)
        self._is_quiet, self._is_verbose, self._shows_text = is_quiet, is_verbose, shows_text
        self._now = now
        self._streams: dict[str, _Shown] = {}
        self._ended: deque[Ended] = deque(maxlen=MOST_ENDED)

    def on_notice(self, text: str) -> None:
        """Something that concerns no stream that runs."""
        if not self._is_quiet or text.startswith("WARNING"):
            self._say(escape(text))

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Something that scripts may want to know of."""
        if not self._is_quiet or is_worth_a_look(fields, text):
            self._say(escape(text))

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording began."""
        self._streams.setdefault(stream.stream_id, _Shown()).product = stream.product
        if not self._is_quiet:
            what = f"{stream.product.title} {escape(stream.id)}"
            doing = f"following {what}" if folder is None else f"recording {what} to {escape(str(folder))}"
            self._say(f"{short_id(stream.stream_id)} {doing}")

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is not a media packet."""
        message = frame.message
        if self._is_quiet or (isinstance(message, KeepAliveRequest | KeepAliveResponse) and not self._is_verbose):
            return
        shown = self._streams.setdefault(stream_id, _Shown())
        if isinstance(message, ChannelState):
            if message.state is State.FINISHED or (message.state is State.REFUSED and not self._is_verbose):
                return  # `on_finished` tells it, and the warning that follows
            if message.state is State.WARNING:
                if message.reason not in shown.warnings:
                    shown.warnings.add(message.reason)
                    self._say(f"{short_id(stream_id)} WARNING: {escape(message.reason, 1_000)}")
                return
        self._say(f"{short_id(stream_id)} {frame_line(frame, shown.product, shows_text=self._shows_text)}")

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """How far every stream is that has received anything since the last time."""
        for stream_id, snapshot in snapshots.items():
            shown = self._streams.setdefault(stream_id, _Shown())
            packets, nbytes = sum(snapshot.counts.values()), sum(snapshot.nbytes.values())
            if self._is_quiet or packets == shown.packets:
                continue
            shown.packets = packets
            files = len(snapshot.tracks)
            losses = f", {snapshot.losses} LOSSES" if snapshot.losses else ""
            self._say(
                f"{short_id(stream_id)} {packets:,} messages, {size_of(nbytes)}, "
                f"{files} {'file' if files == 1 else 'files'}{losses}"
            )

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A session ended."""
        shown = self._streams.pop(stream.stream_id, _Shown())
        ended = Ended(folder, finish, manifest)
        self._ended.append(ended)
        how = ended.how
        if finish.said_by in shown.warnings:  # no need to say it again
            how = f"{finish.status}: {finish.said_by.partition(': ')[0]}"
        self._say(f"{short_id(stream.stream_id)} {escape(how, 1_000)}")
        for line in ended_lines(ended, shown.warnings, with_details=self._is_verbose):
            self._output.say(colored(line) if self._has_color else line)

    def close(self) -> None:
        """Write what waits."""
        for line in step_lines(self._suggest(self._ended)):
            self._output.say(line.plain)
        self._output.close()

    def _say(self, line: str) -> None:
        now = self._now()
        line = f"{now:%H:%M:%S}.{now.microsecond // 1000:03d} {line}"
        self._output.say(colored(line) if self._has_color else line)


class _Shown:
    """What was shown of a stream."""

    def __init__(self) -> None:
        self.product = Product.MEETING
        self.packets = 0
        self.warnings: set[str] = set()


def is_worth_a_look(fields: Mapping[str, object], text: str) -> bool:
    """Whether an event went wrong in a way that a recording does not mention."""
    return text.startswith("WARNING") or fields.get("state") == "left"


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
        """A frame that is not a media packet."""
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


def print_summary(
    folder: Path | None, manifest: Manifest, *, as_json: bool, out: TextIO | None = None, with_details: bool = False
) -> None:
    """What was written, and where: a table on a terminal, lines elsewhere, or the manifest as JSON.

    :param folder: `None` if nothing is kept.
    :param out: where it goes, if not to standard output.
    :param with_details: whether each file has a line.
    """
    out = out or sys.stdout
    if as_json:
        out.write(json_line({"folder": folder, "manifest": manifest}) + "\n")
        return
    ended = Ended(folder, Finish(manifest.status, None, ""), manifest)
    if is_for_people(out):
        print_ended(make_console(out), [ended], with_details=with_details)
    else:
        lines = [ended.where, f"  {ended.how}", *ended_lines(ended, with_details=with_details)]
        out.write("\n".join(escape(line, 1_000) for line in lines if not line.startswith("  recording:")) + "\n")


_COLORS = (
    (re.compile(r"LOSS(?:ES)?\b|\bfailed\b|\brevoked\b|^  lost:"), "\x1b[31m"),
    (re.compile(r"WARNING\b|^  warning:|\binterrupted\b"), "\x1b[33m"),
    (re.compile(r"^\S+ \S+ complete\b"), "\x1b[32m"),
)


def colored(line: str) -> str:
    """The line in the colour of what it tells: a loss or a failure, a warning, a recording that is complete."""
    color = next((color for told, color in _COLORS if told.search(line)), "")
    return f"{color}{line}\x1b[0m" if color else line


def short_id(stream_id: str) -> str:
    """A stream's id as lines begin with it."""
    return escape(stream_id[:8])
