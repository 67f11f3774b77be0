"""The formats that a recording is exported to: what makes each, where its files go, and which options it uses."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.export.files import STDOUT, atomic_file
from rtms_cli.recording.files import is_stream
from rtms_cli.untrusted import is_folder

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.export.audio import Progress, Span, Voice
    from rtms_cli.export.source import Recorded
    from rtms_cli.protocol.messages import UserId
    from rtms_cli.protocol.sentences import Sentence

FILM = ("mp4", "mkv")
SOUND = ("wav", "flac", "opus", "mp3")
SUBTITLES = ("srt", "vtt")
DOCUMENTS = ("txt", "md", "json")
TEXT = (*SUBTITLES, *DOCUMENTS)
PICTURES = ("frames", "slides")
TABLES = ("csv", "parquet")
FORMATS = (*FILM, *SOUND, *TEXT, *PICTURES, *TABLES)
LAYOUTS = ("video", "share", "side")
PLOT = "plot"
"""The picture of `--plot`, which is made as a format is."""

USES: dict[str, tuple[str, ...]] = {
    "video_user": (*FILM, "frames"),
    "layout": (*FILM, "frames"),
    "blank": FILM,
    "merge_gap": DOCUMENTS,
    "per_speaker": SOUND,
    "multichannel": SOUND,
    "trim": SOUND,
    "only_speech": SOUND,
    "every": ("frames",),
}
"""The formats that use each option; with any other it would do nothing."""

_MOST_LISTED = 20
"""Participants that a refusal names."""


class Options(Struct, frozen=True):
    """How to export; see `USES`."""

    video_user: str = ""
    """A user id, or part of a name."""
    layout: str = "video"
    blank: bool = False
    merge_gap: float = 1.5
    """In seconds."""
    per_speaker: bool = False
    multichannel: bool = False
    trim: "Span | None" = None
    only_speech: bool = False
    every: float | None = None
    """In seconds."""


def check_uses(given: Collection[str], formats: Sequence[str]) -> None:
    """Refuse options that would do nothing.

    :param given: names of options, as in `USES`.
    :raises Problem: for the first one that none of the formats uses.
    """
    for name in given:
        used_by = USES.get(name, FORMATS)
        if not {*used_by} & {*formats}:
            option = "--" + name.replace("_", "-")
            what = f"--to {','.join(formats)}" if formats else "--plot"
            raise Problem(f"{option} does nothing with {what}.", f"It is for {_listed(used_by)}.")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


class Target(Struct, frozen=True):
    """Where the files of one recording go, and what they are called."""

    folder: Path
    stem: str
    file: str = ""
    """The whole name of the one file that is wanted."""
    is_alone: bool = False
    """Whether nothing may be put beside that file."""
    pictures: str = ""
    """What the names of folders of pictures begin with, where several recordings share a folder."""

    def main(self, ending: str) -> Path:
        """The path of a format's first file; `ending` is `.txt` or `.packets.csv`."""
        return self.folder / (self.file or f"{self.stem}{ending}")

    def beside(self, ending: str) -> Path:
        """The path of another one."""
        return self.folder / f"{self.stem}{ending}"


class Made(Struct, frozen=True):
    """One file that was made, or a folder of pictures."""

    path: Path
    nbytes: int
    pictures: int = 0


class Export:
    """Makes files of one recording. What cannot be made does not keep the others from it."""

    def __init__(self, recorded: "Recorded", capture: "Path | Capture", options: Options, *, force: bool) -> None:
        self._recorded = recorded
        self._capture = capture
        self._options = options
        self._force = force
        self.files: list[Path] = []
        """Each file that was made."""
        self.made: list[Made] = []
        """The same for people: pictures are counted."""
        self.notes: list[str] = []
        self.failed: list[Problem] = []

    def usual(self) -> list[str]:
        """The formats of a recording for which none is named.

        :raises Problem: if it has nothing for any.
        """
        recorded, found = self._recorded, []
        if recorded.tracks("video") or recorded.tracks("share"):
            found.append("mp4")
        elif recorded.tracks("audio"):
            found.append("opus")
        if recorded.tracks("transcript"):
            found += ["vtt", "txt"]
        elif recorded.tracks("chat"):
            found.append("txt")
        if not found:
            what = f"{recorded.folder} has nothing to export by default."
            raise Problem(what, f"--to {','.join(TABLES)} may do.")
        return found

    def make(self, form: str, target: Target, progress: "Progress") -> None:
        """Make the files of a format, or of `PLOT`."""
        try:
            if form in FILM:
                self._film(form, target, progress)
            elif form in SOUND:
                self._sound(form, target, progress)
            elif form in TEXT:
                self._text(form, target)
            elif form in TABLES:
                self._table(form, target, progress)
            elif form == PLOT:
                self._plot(target)
            else:
                self._pictures(form, target, progress)
        except Problem as problem:
            self.failed.append(problem)

    def _write(self, target: Path, form: str, write: Callable[[Path], object]) -> bool:
        """Make one file; `False` where that failed."""
        try:
            with atomic_file(target, force=self._force, form=form) as temporary:
                write(temporary)
        except Problem as problem:
            self.failed.append(problem)
            return False
        self.files.append(target)
        self.made.append(Made(target, target.stat().st_size))
        return True

    def _film(self, form: str, target: Target, progress: "Progress") -> None:
        from rtms_cli.export.container import ContainerOptions, write_container

        recorded, layout, user = self._recorded, self._options.layout, self._user()
        if layout == "video" and user is None and not recorded.tracks("video") and recorded.tracks("share"):
            layout = "share"
            self.notes.append("no camera was on: the share is shown")
        options = ContainerOptions(layout, user, self._options.blank)

        def write(path: Path) -> None:
            self.notes += write_container(recorded, path, options, progress)

        self._write(target.main(f".{form}"), form, write)

    def _user(self) -> "UserId":
        """Whose pictures are wanted; `None` is everyone's.

        :raises Problem: if that is nobody, or not clear.
        """
        if not (wanted := self._options.video_user):
            return None
        recorded = self._recorded
        names = recorded.names()
        users = ({recorded.party(track) for track in recorded.manifest.tracks} | set(names)) - {None}
        found = [one for one in users if str(one) == wanted]
        found = found or [one for one in users if wanted.casefold() in (names.get(one) or "").casefold()]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(f"{one} {names.get(one, '')}".strip() for one in islice(users, _MOST_LISTED))
        listed += f" and {len(users) - _MOST_LISTED} others" if len(users) > _MOST_LISTED else ""
        what = (
            f"There is no participant called {wanted}." if not found else f"{wanted} matches {len(found)} participants."
        )
        raise Problem(f"--video-user: {what}", f"The participants are {listed or 'unknown'}.")

    def _sound(self, form: str, target: Target, progress: "Progress") -> None:
        from rtms_cli.export.audio import everybody, voices

        recorded, options = self._recorded, self._options
        separate = voices(recorded) if options.per_speaker or options.multichannel else []
        if (options.per_speaker or options.multichannel) and not separate:
            raise Problem(f"{recorded.folder} has no audio tracks of single participants.", "Record with --separate.")
        if options.multichannel:
            self._sound_file(target.main(f".multichannel.{form}"), form, separate, progress)
        elif not options.per_speaker:
            self._sound_file(target.main(f".{form}"), form, [everybody(recorded)], progress)
        for number, voice in enumerate(separate if options.per_speaker else ()):
            path = target.beside(f".{voice.stem}.{form}")
            self._sound_file(path, form, [voice], _part_of(progress, number, len(separate)))

    def _sound_file(self, path: Path, form: str, channels: "Sequence[Voice]", progress: "Progress") -> None:
        from rtms_cli.export.audio import cut_map, export_audio

        options = self._options
        kept: list[Span] = []

        def write(temporary: Path) -> None:
            trim, only_speech = options.trim, options.only_speech
            kept.extend(
                export_audio(self._recorded, channels, temporary, trim=trim, only_speech=only_speech, progress=progress)
            )

        if not self._write(path, form, write) or not options.only_speech:
            return
        if path == STDOUT or is_stream(path):
            self.notes.append("the map of the cuts is not written: name a file or a folder for that")
        else:
            self._write_text(path.with_name(f"{path.name}.cuts.json"), "json", cut_map(kept))

    def _text(self, form: str, target: Target) -> None:
        from rtms_cli.export.text import WRITERS, merged
        from rtms_cli.recording.names import slug

        sentences = self._recorded.sentences()
        if not sentences:
            if not self._chat(form, target.main(f".chat.{form}")):
                what = "transcript" if form in SUBTITLES else "transcript and no chat"
                raise Problem(f"{self._recorded.folder} has no {what}.", "`rtms inspect` shows what it has.")
            return
        by_language: dict[str, list[Sentence]] = {}
        for sentence in sentences:
            # One file that is wanted has all languages.
            by_language.setdefault("" if target.file else sentence.language, []).append(sentence)
        for language, said in by_language.items():
            # Subtitles keep their sentences: each is to be read in the time that it takes to say it.
            shown = said if form in SUBTITLES else merged(said, self._options.merge_gap)
            infix = f".{slug(language, 40) or 'unknown'}" if len(by_language) > 1 else ""
            self._write_text(target.main(f"{infix}.{form}"), form, WRITERS[form](shown))
        self._chat_beside(form, target)

    def _write_text(self, target: Path, form: str, text: str) -> None:
        self._write(target, form, lambda path: path.write_text(text, encoding="utf-8", errors="replace", newline="\n"))

    def _chat_beside(self, form: str, target: Target) -> None:
        if not target.is_alone:
            self._chat(form, target.beside(f".chat.{form}"))
        elif form not in SUBTITLES and self._recorded.tracks("chat"):
            self.notes.append("the chat is not in it: name a file or a folder for that")

    def _chat(self, form: str, target: Path) -> bool:
        """Write the chat as a document or a table; `False` if there is none, or the format cannot hold it."""
        from rtms_cli.export.chat import COLUMNS, KINDS, WRITERS, conversation, rows
        from rtms_cli.export.checking import check_table
        from rtms_cli.export.tables import open_table

        if form in SUBTITLES or not (chat := conversation(self._recorded)).posts:
            return False
        if form in WRITERS:
            self._write_text(target, form, WRITERS[form](chat))
            return True

        def write_table(path: Path) -> None:
            write, close = open_table(path, COLUMNS, KINDS)
            found = rows(chat)
            write(found)
            close()
            check_table(path, len(COLUMNS), len(found))

        self._write(target, form, write_table)
        return True

    def _table(self, form: str, target: Target, progress: "Progress") -> None:
        from rtms_cli.export.tables import write_table

        def write(path: Path) -> None:
            for problem in write_table(self._capture, path, progress):
                if problem.partition(": ")[2] not in self._recorded.problems:  # else it is known from its replay
                    self._recorded.tell(problem)

        self._write(target.main(f".packets.{form}"), form, write)
        self._chat_beside(form, target)

    def _plot(self, target: Target) -> None:
        from rtms_cli.export.checking import check_picture
        from rtms_cli.export.plot import write_plot

        def write(path: Path) -> None:
            self.notes += write_plot(self._recorded, path)
            if path.suffix == ".png":
                check_picture(path)

        path = target.main(".png")
        self._write(path, path.suffix[1:].lower() or "png", write)

    def _pictures(self, form: str, target: Target, progress: "Progress") -> None:
        from rtms_cli.export.pictures import write_frames, write_slides

        out = target.folder / f"{target.pictures}{form}"
        if out.is_symlink() or (os.path.lexists(out) and not is_folder(out)):
            raise Problem(f"{out} is not a folder.", "Choose another with --out.")
        if is_folder(out) and any(out.iterdir()) and not self._force:
            raise Problem(f"{out} already exists.", "--force adds to it; --out writes elsewhere.")
        found: Iterator[Path]
        if form == "slides":
            found = write_slides(self._recorded, out, progress)
        else:
            kind = "share" if self._options.layout == "share" else "video"
            found = write_frames(self._recorded, out, self._options.every, kind, self._user(), progress)
        before = len(self.files)
        try:
            for path in found:
                self.files.append(path)
        finally:
            new = self.files[before:]
            if new:
                pictures = sum(path.suffix == ".png" for path in new)
                self.made.append(Made(out, sum(path.stat().st_size for path in new), pictures))
        if not new:
            raise Problem(f"{self._recorded.folder} has no such pictures.", "`rtms inspect` shows what it has.")


def _part_of(progress: "Progress", number: int, count: int) -> "Progress":
    """The progress of one file of several, as that of all."""
    return lambda part: progress((number + part) / count)
