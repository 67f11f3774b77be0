"""A recording's folder as an object. It may come from someone else, so that nothing in it is taken on trust."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rtms_cli.errors import Problem, reason_of
from rtms_cli.export.indexes import Indexed, indexed
from rtms_cli.export.source import Recorded, recorded_in
from rtms_cli.library.items import Chat, Event, Line, Picture, Transcript, line_of
from rtms_cli.protocol.fields import UserId
from rtms_cli.recording.manifest import Manifest, Participant, TrackEntry
from rtms_cli.untrusted import open_inside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rtms_cli.library.sound import WavForm

MOST_PICTURE = 64 << 20
"""Bytes of the largest picture that is read."""


class Track:
    """One file of a recording."""

    def __init__(self, recorded: Recorded, entry: TrackEntry) -> None:
        self._recorded = recorded
        self.kind = entry.kind
        """`audio`, `encoded`, `video`, `share`, `transcript`, `chat` or `events`."""
        self.path = recorded.folder / entry.path
        """The file, which was there when the recording was opened."""
        self.user_id: UserId = recorded.party(entry)
        """The participant; `None` means everyone. In Contact Center and Phone it is the `channel_id`."""
        self.user_name = entry.user_name
        """The first name that was known."""
        self.entry = entry
        """What the manifest says of it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.path)!r})"

    @contextmanager
    def _opened(self) -> Iterator[BufferedReader]:
        try:
            source = open_inside(self._recorded.folder, self.entry.path)
        except OSError as error:
            raise Problem(f"Cannot read {self.path}: {reason_of(error)}.") from None
        with source:
            yield source


class AudioTrack(Track):
    """A WAV file with the audio of one participant or of everyone, on the recording's clock."""

    @property
    def offset(self) -> float:
        """The time of the first sample, in seconds since the recording's zero."""
        return self._recorded.clock.track(self.entry)

    @property
    def rate(self) -> int:
        """Samples per second and channel; see `samples` for errors."""
        return self._form.rate

    @property
    def channels(self) -> int:
        """1, or 2 for stereo; see `samples` for errors."""
        return self._form.channels

    @property
    def seconds(self) -> float:
        """The length; see `samples` for errors."""
        form = self._form
        return form.nbytes / (2 * form.channels * form.rate)

    @cached_property
    def samples(self) -> "npt.NDArray[np.int16]":
        """All samples, memory-mapped: they are read from disk when you access them. Read-only.

        Of shape (n,), or (n, channels) where there are several. The file must not be cut while the array is used: the
        system ends a process that looks at what is gone (SIGBUS). What is recorded meanwhile is not in it.

        :raises Problem: if the file cannot be read, or is not a 16-bit WAV file.
        """
        from rtms_cli.library.sound import map_samples

        form = self._form
        with self._opened() as source:
            try:
                return map_samples(source, form)
            except (OSError, ValueError) as error:  # cut in between, or no memory to map it into
                raise Problem(f"Cannot read {self.path}: {error}.") from None

    @cached_property
    def _form(self) -> "WavForm":
        from rtms_cli.library.sound import read_form

        with self._opened() as source:
            try:
                return read_form(source)
            except (OSError, ValueError) as error:
                raise Problem(f"Cannot read {self.path}: {error}.", "`rtms repair` may restore it.") from None


class PictureTrack(Track):
    """A file of pictures. Iterate it to get each picture in order, as often as you like."""

    def __iter__(self) -> Iterator[Picture]:
        """The pictures, by the file's index.

        :raises Problem: if the file or its index cannot be read; what comes before a damaged line is given first.
        """
        with self._opened() as source:
            lines = indexed(self.path)
            while (picture := self._next(source, lines)) is not None:
                yield picture

    def _next(self, source: BufferedReader, lines: Iterator[Indexed]) -> Picture | None:
        recorded, entry = self._recorded, self.entry
        try:
            for one in lines:
                if one.length > MOST_PICTURE:
                    recorded.tell(f"{entry.path}: a picture of {one.length} bytes is left out")
                    continue
                source.seek(one.offset)
                data, at = source.read(one.length), one.time_ms(recorded.manifest.origin_ms or 0)
                return Picture(self.kind, data, entry.codec or "", at, one.key, self.user_id, self.user_name)
        except OSError as error:
            raise Problem(f"Cannot read {self.path}: {reason_of(error)}.") from None
        return None


class Recording:
    """A recording's folder, finished or not. It is never changed, and no file stays open.

    :param folder: what `listen`, `join`, `demo`, `replay` or `repair` has made.
    :raises Problem: if it has no manifest that can be read.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._recorded = recorded_in(self.folder)

    def __repr__(self) -> str:
        return f"Recording({os.fspath(self.folder)!r})"

    @property
    def manifest(self) -> Manifest:
        """The whole manifest, without tracks whose files cannot be used."""
        return self._recorded.manifest

    @property
    def status(self) -> str:
        """`recording`, `complete`, `interrupted`, `failed` or `revoked`."""
        return self.manifest.status

    @property
    def participants(self) -> list[Participant]:
        """Everyone that an event named, or who sent something."""
        return self.manifest.participants

    @property
    def problems(self) -> list[str]:
        """What could not be read so far, for people. The list grows as you read more."""
        return self._recorded.problems

    @property
    def seconds(self) -> float:
        """The length."""
        return self._recorded.seconds

    @cached_property
    def tracks(self) -> list[Track]:
        """All files of media and text, in the manifest's order: `AudioTrack`, `PictureTrack`, and `Track`."""
        made = {"audio": AudioTrack, "video": PictureTrack, "share": PictureTrack}
        return [made.get(entry.kind, Track)(self._recorded, entry) for entry in self.manifest.tracks]

    def audio(self, user: int | str | None = None) -> AudioTrack:
        """The audio of a participant.

        :param user: a user id or a name; `None` is everyone's as one, or else the only one's.
        :raises Problem: if there is none.
        """
        return cast("AudioTrack", self._one("audio", user))

    def video(self, user: int | str | None = None) -> PictureTrack:
        """The camera of a participant; see `audio`."""
        return cast("PictureTrack", self._one("video", user))

    def share(self, user: int | str | None = None) -> PictureTrack:
        """The shared screen of a participant; see `audio`."""
        return cast("PictureTrack", self._one("share", user))

    @property
    def transcript(self) -> Iterator[Transcript]:
        """The transcript, line by line, as it arrived: a later line may change an earlier one."""
        return cast("Iterator[Transcript]", self._lines("transcript"))

    @property
    def chat(self) -> Iterator[Chat]:
        """The chat, line by line, as it arrived."""
        return cast("Iterator[Chat]", self._lines("chat"))

    @property
    def events(self) -> Iterator[Event]:
        """The events, line by line."""
        return cast("Iterator[Event]", self._lines("events"))

    def _lines(self, kind: str) -> Iterator[Line]:
        parties = self._recorded.parties
        for fields in self._recorded.lines(kind):
            yield line_of(kind, fields, parties.party)

    def _one(self, kind: str, user: int | str | None) -> Track:
        found = [track for track in self.tracks if track.kind == kind]
        if user is None:
            chosen = [track for track in found if track.user_id is None] or (
                found if len({track.user_id for track in found}) == 1 else []
            )
        else:
            name = str(user).casefold()
            chosen = [track for track in found if track.user_id is not None and str(track.user_id) == str(user)]
            chosen = chosen or [track for track in found if (track.user_name or "").casefold() == name]
        if chosen:
            return chosen[0]
        whose = "everyone" if user is None else f"{user!r}"
        there = ", ".join(dict.fromkeys(self._recorded.label(track.user_id) for track in found))
        raise Problem(
            f"{self.folder} has no {kind} of {whose}.", f"There is that of {there}." if there else "There is none."
        )
