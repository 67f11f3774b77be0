"""The list of recordings, where looking at them fails: it stays as it was, and says so."""

import json
import logging
from typing import Any

import pytest

from rtms_cli.catalog.entries import Entry
from rtms_cli.errors import Problem
from rtms_cli.web.listing import Listing


class Shelf:
    """`Recordings` that can be listed until a test says otherwise."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.error: Exception | None = None

    def stamps(self) -> dict[str, object]:
        if self.error is not None:
            raise self.error
        return dict.fromkeys(self.names, 1)

    def entry(self, name: str) -> Entry:
        return Entry(name, f"/shelf/{name}", "complete")


async def answer(listing: Listing) -> tuple[list[str], Any, str]:
    body, etag = await listing.answer()
    found = json.loads(body)
    return sorted(one["name"] for one in found["recordings"]), found["problem"], etag


@pytest.mark.parametrize(
    ("error", "told", "logged"),
    [
        (Problem("The store does not answer.", "Try later."), "The store does not answer. Try later.", 0),
        (KeyError("x"), "A defect in rtms. The log says more.", 1),
    ],
)
async def test_a_list_stays_and_says_that_it_may_be_old(
    caplog: pytest.LogCaptureFixture, error: Exception, told: str, logged: int
) -> None:
    shelf, now = Shelf("a"), [0.0]
    listing = Listing(shelf, 2.0, lambda: now[0])
    names, problem, first = await answer(listing)
    assert (names, problem) == (["a"], None)
    shelf.error = error
    now[0] = 3.0
    names, problem, failed = await answer(listing)
    assert (names, problem, failed != first) == (["a"], told, True)
    assert (await answer(listing))[2] == failed, "nothing has changed"
    shelf.error = None
    shelf.names.append("b")
    now[0] = 6.0
    assert (await answer(listing))[:2] == (["a", "b"], None)
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(lines) == logged
    assert all(line.startswith("a defect in rtms: the recordings could not be listed: KeyError: 'x'") for line in lines)


async def test_a_first_look_that_fails_gives_no_empty_list() -> None:
    shelf = Shelf("a")
    shelf.error = KeyError("x")
    with pytest.raises(Problem, match="A defect in rtms"):
        await Listing(shelf).answer()
