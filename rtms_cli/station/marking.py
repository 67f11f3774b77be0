"""Takes the marks that `rtms mark` leaves in the folders of running recordings."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rtms_cli.recording.marking import take_mark
from rtms_cli.station.station import Station

LOOK_S = 0.25
"""How often it looks: a mark is as late as that at most."""


async def take_marks(station: Station) -> None:
    """Put every mark into the events of its stream, until it is cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        folders = station.folders()
        if not folders:
            continue
        for stream_id, text in (await asyncio.to_thread(_taken, folders)).items():
            station.mark(stream_id, text)
            station.notice(f"marked: {text}")


def _taken(folders: Mapping[str, Path]) -> dict[str, str]:
    """The marks that were left, by stream; a look costs a system call a folder."""
    found = {stream_id: take_mark(folder) for stream_id, folder in folders.items()}
    return {stream_id: text for stream_id, text in found.items() if text is not None}
