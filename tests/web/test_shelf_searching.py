"""Search while the index is being made, which takes long where there are thousands of recordings."""

from pathlib import Path

import pytest
from catalog.shelf import put
from catalog.test_search import say

from rtms_cli.errors import Problem
from rtms_cli.web import searching
from rtms_cli.web.searching import Query, Searching

COUNT, HALF = 100, 50


class Halting(Searching):
    """Its index is half made until someone asks: a fast machine would be done."""

    def _note(self, done: int, total: int) -> None:
        if done == HALF:
            self._questions.put(self._questions.get(timeout=30))
            super()._note(done, total)


async def test_what_is_indexed_is_found_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(COUNT):
        say(put(tmp_path, f"one-{number:03d}"), (1.0, "Kim", f"Invoice {number}."))
    index = Halting(tmp_path)
    monkeypatch.setattr(searching, "MEANWHILE_S", 30.0)
    with monkeypatch.context() as context:
        context.setattr(searching, "PATIENCE_S", 0.0)
        found = await index.search(Query("invoice", limit=COUNT))
    assert len(found["hits"]) == HALF
    assert found["reading"] is not None
    monkeypatch.setattr(searching, "PATIENCE_S", 30.0)
    found = await index.search(Query("invoice", limit=COUNT))
    assert (len(found["hits"]), found["reading"]) == (COUNT, None)
    index.close()


async def test_a_wrong_question_is_told_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(COUNT):
        put(tmp_path, f"one-{number:03d}")
    monkeypatch.setattr(searching, "PATIENCE_S", 0.0)
    monkeypatch.setattr(searching, "MEANWHILE_S", 30.0)
    index = Halting(tmp_path)
    with pytest.raises(Problem):
        await index.search(Query("..."))
    index.close()
