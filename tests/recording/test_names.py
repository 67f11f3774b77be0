"""Hostile ids and names → file names."""

import os
import re
import unicodedata
from pathlib import Path

import pytest
from frames import HEADER
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rtms_cli.protocol.messages import user_id
from rtms_cli.recording.names import Names, new_folder, participant_stem, tame_id

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text("./\\\0 .aA1-_=", max_size=20),
    st.sampled_from(("CON", "con", "nul", "com1", "..", ".", "", "mixed", "x" * 4000, "\ud800", "😀" * 300, "🇩🇪é")),
)


@given(user_id=st.one_of(st.integers(), HOSTILE), name=st.one_of(st.none(), HOSTILE))
def test_a_stem_is_one_harmless_component(user_id: int | str, name: str | None) -> None:
    stem = participant_stem(user_id, name)
    assert 0 < len(stem) <= 80
    assert len(os.fsencode(stem)) <= 220
    assert not set('/\\\0. \t\n:*?"<>|') & set(stem)
    assert not stem.startswith("-")
    assert stem.isprintable()
    assert stem.lower() not in {"con", "prn", "aux", "nul", "mixed", "com1", "lpt9"}


@given(ids=st.lists(st.one_of(st.integers(), HOSTILE), unique_by=str, max_size=30), name=HOSTILE)
def test_no_two_participants_share_a_name(ids: list[int | str], name: str) -> None:
    names = Names()
    given_out = [names.give("audio", participant_stem(user_id, name), "wav").casefold() for user_id in ids]
    assert len(set(given_out)) == len(ids)


@pytest.mark.parametrize(
    ("user_id", "name", "stem"),
    [
        (16778240, "John Smith", "16778240_john-smith"),
        (7, None, "7"),
        (7, "José Ñandú", "7_jose-nandu"),
        (7, "李雷", "7_李雷"),
        (7, "../../x", "7_x"),
        (7, "😀", "7"),
        ("abc-1", "A", "abc-1_a"),
    ],
)
def test_names_stay_readable(user_id: int | str, name: str | None, stem: str) -> None:
    assert participant_stem(user_id, name) == stem


def test_ids_that_look_alike_differ() -> None:
    assert len({tame_id(user_id) for user_id in ("a b", "a/b", "A b", "a_b", "a-b")}) == 5


def test_a_folder_is_never_used_twice(tmp_path: Path) -> None:
    folders = [new_folder(tmp_path / "recordings", HEADER) for _ in range(3)]
    assert [folder.name for folder in folders] == [
        "20261122T221500Z_meeting_stream123",
        "20261122T221500Z_meeting_stream123_2",
        "20261122T221500Z_meeting_stream123_3",
    ]
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in folders)


@given(created=HOSTILE, product=HOSTILE, stream_id=HOSTILE)
def test_a_folder_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, created: str, product: str, stream_id: str
) -> None:
    parent = tmp_path_factory.getbasetemp() / "parent"
    header = structs.replace(HEADER, created=created, product=product, rtms_stream_id=stream_id)
    folder = new_folder(parent, header)
    assert folder.parent == parent
    assert folder.is_dir()
    assert re.fullmatch(r"[^./\\\0]+", folder.name)
    folder.rmdir()


def test_time_zones_are_brought_to_utc(tmp_path: Path) -> None:
    header = structs.replace(HEADER, created="2026-11-23T01:15:00+03:00", product="contact_center")
    assert new_folder(tmp_path, header).name == "20261122T221500Z_contact_center_stream123"


def test_no_two_names_are_one_to_a_file_system_that_folds_them() -> None:
    names = Names()
    stems = ["a", "A", "é", "e\u0301", "É", "ß", "SS", "ﬁ", "fi", "Å", "\u212b", "1０"]
    given = [names.give("audio", stem, "wav") for stem in stems]
    folded = {unicodedata.normalize(form, path.casefold()) for path in given for form in ("NFKC",)}
    assert len(folded) == len(stems)
    assert names.give("video", "a", "wav") == "video/a.wav"
    assert names.distinct("a") == "a"
    assert names.distinct("A") == "A_2"


def test_ids_that_look_alike_have_files_of_their_own() -> None:
    alike = [10, *map(user_id, ("1_0", " 10", "+10", "010", "１０", "10.0", "a", "A"))]
    stems = [participant_stem(one, "Ann") for one in alike]
    assert len({unicodedata.normalize("NFKC", stem.casefold()) for stem in stems}) == len(alike)
