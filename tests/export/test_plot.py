"""`--plot`: names in every script, without a warning; what no font has is told."""

import sys
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, said
from processes import rtms

from rtms_cli.export.fonts import Lettering, lettering
from rtms_cli.export.plot import write_plot
from rtms_cli.export.source import open_recording
from rtms_cli.recording.recorder import Recorder

CJK = ["山田 太郎", "김철수", "张伟", "陳大文"]
OTHERS = ["Zoë Müller", "محمد", "שלום", "Ωμέγα", "$x_1$ ^"]
RARE = ["สมชาย", "मोहन", "Ann 🎉👩🏽‍💻", "\U00013000"]
HOUR_MS = 3_600_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Participants with such names, each heard; some speak, the last one hours after the end of the sound."""
    folder = tmp_path / "names"
    folder.mkdir()
    recorder = Recorder(folder, HEADER)
    names = [*CJK, *OTHERS, *RARE]
    speaks = [{"msg_type": 6, "event": {
        "event_type": 2, "timestamp": ZERO_MS + at, "participants": [{"user_id": 9, "user_name": name}],
    }} for at, name in ((0, CJK[0]), (9, RARE[0]), (3 * HOUR_MS, CJK[1]))]  # fmt: skip
    recorder.fold([
        granted(), *(audio(b"\1\0" * 320, ZERO_MS, user_id=at, user_name=name) for at, name in enumerate(names, 1)),
        *(said(one, channel="signaling") for one in speaks),
    ])  # fmt: skip
    recorder.close()
    return folder


def test_names_are_drawn_without_a_warning(recording: Path, tmp_path: Path) -> None:
    """A warning is an error here: see `filterwarnings`."""
    with open_recording(recording) as recorded:
        notes = write_plot(recorded, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 20_000
    missing = lettering([*CJK, *OTHERS, *RARE]).missing
    assert missing <= set("".join(RARE))
    assert [note.startswith("no font here has ") for note in notes] == [True] * bool(missing)


def test_nothing_reaches_the_terminal_but_our_own_note(recording: Path, tmp_path: Path) -> None:
    done = rtms(
        "export", recording, "--plot", "plot.png", cwd=tmp_path, settings={"MPLCONFIGDIR": str(tmp_path / "new")}
    )
    assert (done.returncode, done.stdout) == (0, "plot.png\n")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] in ([], ["note"])
    loud = {"PYTHONWARNINGS": "error::UserWarning"}
    again = rtms("export", recording, "--plot", "plot.png", "--force", cwd=tmp_path, settings=loud)
    assert (again.returncode, again.stderr) == (0, done.stderr)


def test_without_a_font_letters_are_told_by_their_numbers(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtms_cli.export.fonts._others", lambda: iter(()))
    found = lettering([*CJK, *OTHERS, *RARE])
    assert found.families == ["DejaVu Sans"]
    assert [found.shown(name) for name in OTHERS] == OTHERS
    assert found.shown("山田 A") == r"\u5c71\u7530 A"
    assert found.shown("Ann 🎉") == "Ann :party popper:"
    assert found.shown("\x1b[2J\u202e") == "�[2J�"
    assert len(found.shown("山" * 100)) == 60
    with open_recording(recording) as recorded:
        [note] = write_plot(recorded, tmp_path / "plot.png")
    assert note.startswith("no font here has ")


def test_the_font_that_we_bring_has_the_names_of_east_asia(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all("Last Resort" not in family for family in lettering(RARE).families)
    found = lettering(CJK)
    assert found.missing == frozenset()
    assert found.families == ["DejaVu Sans", "Noto Sans CJK JP"]
    monkeypatch.setitem(sys.modules, "noto_cjk_sans_jp_regular", None)
    assert isinstance(lettering(CJK), Lettering)  # by the system's fonts, as far as it has some
