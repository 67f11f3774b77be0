"""The journal: numbers without a gap, bounded, and each event once for a client that comes back."""

from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.feed.journal import Journal
from rtms_cli.feed.messages import Event


@given(st.lists(st.integers(0, 5_000), max_size=60), st.integers(1, 20), st.integers(0, 20_000), st.integers(0, 70))
def test_kept_events_have_their_numbers_and_take_no_more_than_allowed(
    sizes: list[int], most: int, most_nbytes: int, after: int
) -> None:
    journal = Journal(most, most_nbytes)
    for nbytes in sizes:
        journal.add(lambda seq: Event(seq, "", "notice", text=str(seq)), nbytes)
    kept = [event.seq for event in journal.after(0)]
    assert kept == list(range(journal.oldest, journal.seq + 1))
    assert journal.seq == len(sizes)
    assert len(kept) <= most
    assert journal.nbytes <= most_nbytes or len(kept) <= 1
    assert [event.seq for event in journal.after(after)] == [seq for seq in kept if seq > after]
    assert all(event.text == str(event.seq) for event in journal.after(0))


@given(st.lists(st.booleans(), max_size=60))
def test_a_client_that_comes_back_has_each_event_once(steps: list[bool]) -> None:
    """Now it is there and now it is not; behind a pause it asks for what it missed."""
    journal = Journal(1_000)
    had: list[int] = []

    def take(event: Event) -> None:
        had.append(event.seq)

    leave = journal.subscribe(take)
    is_there = True
    for comes in steps:
        journal.add(lambda seq: Event(seq, "", "notice"))
        if is_there and not comes:
            leave()
        elif comes and not is_there:
            had += [event.seq for event in journal.after(had[-1] if had else 0)]
            leave = journal.subscribe(take)
        is_there = comes
    had += [event.seq for event in journal.after(had[-1] if had else 0)] if not is_there else []
    assert had == list(range(1, len(steps) + 1))


def test_nothing_is_made_before_somebody_looks() -> None:
    journal, made = Journal(), list[int]()

    def make(seq: int) -> Event:
        made.append(seq)
        return Event(seq, "", "notice")

    journal.add(make)
    journal.add(make)
    assert made == []
    assert len(list(journal.after(1))) == 1
    list(journal.after(0))
    assert made == [2, 1]


def test_a_mirror_has_the_numbers_of_its_source() -> None:
    mirror = Journal()
    for seq in (7, 8, 8, 6, 9):
        mirror.take(Event(seq, "", "notice"))
    assert [event.seq for event in mirror.after(0)] == [7, 8, 9]
    mirror.take(Event(12, "", "notice"))
    assert [event.seq for event in mirror.after(0)] == [12]
    mirror.forget()
    assert (mirror.seq, mirror.oldest) == (0, 1)


def test_a_mirror_counts_all_that_an_event_holds() -> None:
    mirror = Journal(most_nbytes=1_000_000)
    for seq in range(1, 10):
        mirror.take(Event(seq, "", "notice", fields={"why": {"in": ["x" * 100_000]}}))
    assert mirror.nbytes <= 1_000_000
    assert [event.seq for event in mirror.after(0)] == [6, 7, 8, 9]
