"""A recorder that is looked at through its feed is drawn as it draws itself."""

import re

import pytest
from moments import HOSTILE, SIZES, busy, drawn, view
from msgspec import structs

from rtms_cli.feed.messages import Channel, KeepAlives, Picture, Row, Warned, read_server, write
from rtms_cli.feed.pictures import detail_of, row_of
from rtms_cli.feed.views import view_of, views_of
from rtms_cli.recording.manifest import TapEntry
from rtms_cli.session.channel import Phase
from rtms_cli.station.observing import StreamSnapshot
from rtms_cli.view.dashboard import History, Moment


def sent(views: list[StreamSnapshot], watched: set[str]) -> list[StreamSnapshot]:
    """What a client makes of streams that a server tells it, as JSON."""
    details = [detail_of(one) for one in views if one.session.stream.stream_id in watched]
    picture = read_server(write(Picture(0, "", [row_of(one) for one in views], details)))
    assert isinstance(picture, Picture)
    words = {one.session.stream.stream_id: (one.recording.transcript, one.recording.chat) for one in views}
    return views_of(picture, words)


def ids(views: list[StreamSnapshot]) -> set[str]:
    return {one.session.stream.stream_id for one in views}


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_the_picture_is_that_of_the_recorder(width: int, height: int, chosen: int) -> None:
    ours, theirs = History(), History()
    for second in range(805, 813):
        ours.sample(busy(second))
        theirs.sample(sent(busy(second), ids(busy(second))))
    local = busy(812)
    text = drawn(Moment("listen", local, chosen), width, height, ours)
    assert drawn(Moment("listen", sent(local, ids(local)), chosen), width, height, theirs) == text
    assert local[chosen].session.stream.id in text


def test_who_is_given_a_stream_is_shown_too() -> None:
    one = view()
    taps = (TapEntry("audio", "exec:engine", 7, "Kim", bytes=5, drops=17, late_seconds=1.5, restarts=2),)
    one = structs.replace(one, recording=structs.replace(one.recording, taps=taps))
    text = drawn(Moment("listen", [one]))
    assert "audio of Kim → exec:engine" in text
    assert drawn(Moment("listen", sent([one], ids([one])))) == text


def test_of_a_stream_that_is_not_watched_the_table_shows_the_same() -> None:
    local = [*busy(812), view(4, phase=Phase.OPENING)]
    paused = view(5)
    local.append(structs.replace(paused, session=structs.replace(paused.session, stream_state=5)))
    watched = {local[0].session.stream.stream_id}
    remote = sent(local, watched)
    assert drawn(Moment("listen", remote)) == drawn(Moment("listen", local))
    assert [one.state for one in remote] == ["streaming", "lost", "ending", "connecting", "paused"]


def test_a_feed_that_makes_things_up_is_drawn() -> None:
    """Nothing in it reaches the terminal raw, and no number is too large to be drawn."""
    one = view()
    row, detail = row_of(one), detail_of(one)
    row = structs.replace(row, seconds=1e300, product="unheard of", state=HOSTILE, id=HOSTILE)
    channel = Channel(HOSTILE, HOSTILE, 1e300, -5.0, KeepAlives(1, 1, 1e300, 1e300), 1, 4, HOSTILE)
    detail = structs.replace(
        detail, channels=[channel], steps=[(HOSTILE, 1e300)], refused={HOSTILE: HOSTILE}, counts={HOSTILE: 1 << 60},
        folder=HOSTILE, ending=HOSTILE, warnings=[Warned(HOSTILE, 1, 1e300)],
    )  # fmt: skip
    for made_up in (view_of(row, detail), view_of(row, None)):
        text = drawn(Moment("listen", [made_up, made_up]))
        assert "Eve" in text
        assert not {"\x1b", "\x07", "‮"} & set(text)
        assert re.findall(r".*\d{20}.*", text) == []


def test_rows_without_details_tell_states_that_nobody_knows_yet() -> None:
    row = Row("s", "meeting", "m", None, "resting", 1.0, {}, 0, 0, 0, 0, 0, KeepAlives())
    assert view_of(row, None).state == "streaming"
