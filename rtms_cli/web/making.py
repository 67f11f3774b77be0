"""Makes the page of a recording, as a process of its own: reading a capture of three hours must not delay others.

It is run as `python -m rtms_cli.web.making PLACE NAME [ENDPOINT]`, and writes the page to its standard output. What
keeps it from that, it says on standard error, in a line.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem, reason_of
from rtms_cli.inspection.page import page
from rtms_cli.inspection.reading import in_pieces
from rtms_cli.store.urls import is_store_url

HOME = "/recordings"
NICENESS = 5
"""A recorder gets three times as much of a processor that it shares; at 10, a busy machine had no page for minutes."""
MOST_NBYTES = 128 << 20
"""Of a page, which is read into memory to be sent."""
_SOUND = ("audio", "transcript", "chat")


def files_of(name: str) -> str:
    """The URL that those of a recording's files begin with."""
    return f"{HOME}/{quote(os.fsencode(name), safe='')}/files/"


def write_page(place: str, name: str, endpoint: str | None) -> None:
    """Write the page of a recording to standard output.

    :param place: the folder or URL that the recording is in.
    :param name: the recording's.
    :raises Problem: if its capture cannot be read.
    """
    if is_store_url(place):
        from rtms_cli.store.reading import fetched

        with fetched(f"{place.rstrip('/')}/{name}", endpoint, _SOUND) as found:
            _write(found.capture, found.source if isinstance(found.source, Path) else None, name)
        return
    folder = Path(place) / name
    _write(Capture(folder), folder, name)


def _write(source: Capture, folder: Path | None, name: str) -> None:
    def link(path: Path) -> str | None:
        if folder is None:
            return None
        return files_of(name) + quote(os.fsencode(path.relative_to(folder).as_posix()))

    nbytes = 0
    for part in page(source.header, in_pieces(source), source.path, folder, link, HOME):
        nbytes += len(part)
        if nbytes > MOST_NBYTES:
            raise Problem(f"The page has more than {MOST_NBYTES >> 20} MiB.", "Use `rtms inspect`.")
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def main() -> int:
    """Run it; returns the exit code."""
    place, name, *endpoint = sys.argv[1:]
    os.nice(NICENESS)
    try:
        write_page(place, name, endpoint[0] if endpoint else None)
    except Problem as problem:
        print(problem, file=sys.stderr)  # noqa: T201  # to the process that asked
        return int(problem.exit_code)
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(reason_of(error), file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
