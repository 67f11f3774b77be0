"""What was said and written, found again; and what was deleted, not."""

import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from catalog.shelf import put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import rtms

from rtms_cli.catalog.search import Hit, SearchIndex
from rtms_cli.errors import Problem
from rtms_cli.recording.files import SEARCH_INDEX, forget_search
from rtms_cli.recording.manifest import Stop
from rtms_cli.recording.pruning import delete_recording
from rtms_cli.recording.repair import revoke


def say(folder: Path, *lines: tuple[float, str, str]) -> None:
    """Write a transcript: when, who, what."""
    ids = {who: number for number, who in enumerate(sorted({who for _, who, _ in lines}), 100)}
    with (folder / "transcript.jsonl").open("a", encoding="utf-8") as out:
        for t, who, text in lines:
            line = {"t": t, "timestamp": int(1_795_856_400_000 + t * 1000), "user_id": ids[who], "user_name": who}
            out.write(json.dumps(line | {"text": text, "language": 9}, ensure_ascii=False) + "\n")


def search(place: Path, words: str, **options: object) -> list[Hit]:
    index = SearchIndex(place)
    try:
        index.update()
        return index.search(words, **options)  # type: ignore[arg-type]
    finally:
        index.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    old = put(tmp_path, "20261127T090000Z_a", started_at="2026-11-27T09:00:00Z", rtms_stream_id="a")
    new = put(tmp_path, "20261128T090000Z_b", title="Budget talk", rtms_stream_id="b")
    say(old, (1.0, "Kim", "The invoice is late."), (2.0, "Ada", "Which one?"), (3.0, "Kim", "La facture de l'été."))
    say(new, (5.0, "Ada", "An INVOICE came."), (6.0, "山田", "請求書が届きました。"), (7.0, "Lek", "ใบแจ้งหนี้มาแล้ว"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("invoice", [("20261128T090000Z_b", 5.0), ("20261127T090000Z_a", 1.0)]),
        ("LATE invoice", [("20261127T090000Z_a", 1.0)]),
        ('"invoice is"', [("20261127T090000Z_a", 1.0)]),
        ('"is invoice"', []),
        ("inv*", [("20261128T090000Z_b", 5.0), ("20261127T090000Z_a", 1.0)]),
        ("inv", []),
        ("ete", [("20261127T090000Z_a", 3.0)]),
        ("請求", [("20261128T090000Z_b", 6.0)]),
        ("求請", []),
        ("หนี้", [("20261128T090000Z_b", 7.0)]),
        ("budget", [("20261128T090000Z_b", 0.0)]),
        ("NOT late", []),
        ("invoice -late", [("20261127T090000Z_a", 1.0)]),
    ],
)
def test_words_are_found(place: Path, words: str, found: list[tuple[str, float]]) -> None:
    assert [(hit.recording, hit.at) for hit in search(place, words)] == found


def test_a_speaker_can_be_asked_for(place: Path) -> None:
    assert [hit.who for hit in search(place, "invoice", user="KIM")] == ["Kim"]
    assert search(place, "invoice", user="nobody") == []


def test_lines_around_are_told(place: Path) -> None:
    (hit,) = search(place, "which", context=1)
    assert (hit.before, hit.after) == (["Kim: The invoice is late."], ["Kim: La facture de l'été."])


@pytest.mark.parametrize("words", ["", "  ", '"', "*", "?!", "--"])
def test_there_must_be_a_word(place: Path, words: str) -> None:
    with pytest.raises(Problem, match="no word"):
        search(place, words)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.text(max_size=30))
def test_nothing_in_the_words_is_an_operator(place: Path, words: str) -> None:
    with suppress(Problem):
        search(place, words)


def test_what_is_new_is_found_at_once(place: Path) -> None:
    assert search(place, "later") == []
    say(place / "20261127T090000Z_a", (9.0, "Ada", "See you later."))
    assert [hit.at for hit in search(place, "later")] == [9.0]


def test_what_was_deleted_leaves_nothing_behind(place: Path) -> None:
    assert search(place, "facture")
    assert delete_recording(place / "20261127T090000Z_a") == ""
    assert not (place / SEARCH_INDEX).exists()
    assert search(place, "facture") == []


def test_what_somebody_deleted_by_hand_leaves_nothing_in_the_index(place: Path) -> None:
    assert search(place, "facture")
    for path in (place / "20261127T090000Z_a").iterdir():
        path.unlink()
    (place / "20261127T090000Z_a").rmdir()
    assert search(place, "facture") == []
    assert b"facture" not in (place / SEARCH_INDEX).read_bytes()


def test_what_was_revoked_is_forgotten(place: Path) -> None:
    assert search(place, "facture")
    assert revoke(place, "a", None, Stop(8, "STOP_BC_STREAM_REVOKED", "webhook"))
    assert not (place / SEARCH_INDEX).exists()
    assert search(place, "facture") == []


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(500)])
def test_an_index_that_is_none_is_made_anew(place: Path, content: bytes) -> None:
    (place / SEARCH_INDEX).write_bytes(content)
    assert len(search(place, "invoice")) == 2


def test_an_index_of_another_version_is_made_anew(place: Path) -> None:
    search(place, "invoice")
    with sqlite3.connect(place / SEARCH_INDEX) as db:
        db.execute("PRAGMA user_version=99")
    assert len(search(place, "invoice")) == 2


def test_a_link_in_its_place_is_not_followed(place: Path, tmp_path: Path) -> None:
    (place / SEARCH_INDEX).symlink_to(tmp_path / "elsewhere")
    assert len(search(place, "invoice")) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_an_index_that_breaks_in_use_is_named(place: Path) -> None:
    search(place, "invoice")
    content = bytearray((place / SEARCH_INDEX).read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (place / SEARCH_INDEX).write_bytes(content)
    done = rtms("search", "invoice", "--in", place, cwd=place)
    assert done.returncode == 2, done.stdout
    assert "Delete it" in done.stderr


def test_a_recording_that_cannot_be_read_is_named(place: Path) -> None:
    (place / "20261127T090000Z_a" / "manifest.json").write_bytes(b"{")
    index = SearchIndex(place)
    index.update()
    assert [problem.partition(":")[0] for problem in index.problems] == ["20261127T090000Z_a"]
    assert [hit.recording for hit in index.search("invoice")] == ["20261128T090000Z_b"]
    index.close()


def test_the_index_is_as_private_as_the_recordings(place: Path) -> None:
    search(place, "invoice")
    assert (place / SEARCH_INDEX).stat().st_mode & 0o077 == 0
    forget_search(place)
    forget_search(place)


def test_a_folder_may_be_called_anything(place: Path) -> None:
    names = [os.fsdecode(name) for name in (b"\xff\xfe", b"\xff\xfd")]
    try:
        for name in names:
            say(put(place, name, title="\ud800"), (1.0, "Eve", "A cuckoo."))
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert {hit.recording for hit in search(place, "cuckoo")} == set(names)
    assert search(place, "cuckoo", user="\udcff") == []
    done = rtms("search", "cuckoo", "--in", place, cwd=place)
    assert done.returncode == 0, done.stderr
    delete_recording(place / names[0])
    assert {hit.recording for hit in search(place, "cuckoo")} == {names[1]}
    (place / names[1] / "transcript.jsonl").write_text("")
    assert search(place, "cuckoo") == []


def test_an_sqlite_that_cannot_search_text_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.catalog.search._SCHEMA", "CREATE VIRTUAL TABLE words USING nosuch(said);")
    with pytest.raises(Problem, match="cannot search text"):
        SearchIndex(place)


def test_a_name_is_found_without_its_accents_and_listed_once(tmp_path: Path) -> None:
    folder = put(tmp_path, "one")
    say(folder, (1.0, "Zoë", "The invoice is late."))
    chat = {"t": 2.0, "message_id": "a", "action": "new", "user_id": 100, "user_name": "Zoë", "text": "An invoice"}
    answer = chat | {"t": 3.0, "message_id": "b", "reply_to": "a"}
    (folder / "chat.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (chat, answer)), encoding="utf-8")
    assert search(tmp_path, "late", user="ZOE")[0].who == "Zoë"
    assert not search(tmp_path, "late", user="Zoe Kim")
    index = SearchIndex(tmp_path)
    assert index.speakers() == ["Zoë"]
    index.close()


def test_a_recording_hides_no_other_one(tmp_path: Path) -> None:
    talk = put(tmp_path, "20261128T090000Z_talk", rtms_stream_id="a")
    say(talk, *((float(at), "Kim", f"invoice {at}") for at in range(50)))
    say(put(tmp_path, "20261127T090000Z_b", rtms_stream_id="b"), (7.0, "Ada", "An invoice."))
    found = search(tmp_path, "invoice", each=3, limit=10)
    assert [(hit.recording, hit.at, hit.found_here) for hit in found] == [
        (talk.name, 0.0, 50), (talk.name, 1.0, 50), (talk.name, 2.0, 50), ("20261127T090000Z_b", 7.0, 1),
    ]  # fmt: skip
    only = search(tmp_path, "invoice", limit=100, recording=os.fsencode(talk.name))
    assert [hit.at for hit in only] == list(range(50))
    assert search(tmp_path, "invoice", recording=b"unknown") == []
    assert [hit.found_here for hit in search(tmp_path, "invoice", user="ada")] == [1]
