"""Every failure of PROTOCOL §9, a row each: what had happened, what comes, what must follow."""

from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script import (
    AUDIO,
    AUDIO_AND_TRANSCRIPT,
    CONNECTED,
    FAILOVER,
    HANDSHAKE,
    INTERRUPTED,
    PACKET,
    SPLIT,
    SPLIT_OPENING,
    STARTED,
    STREAM,
    describe,
    feed,
    interrupted,
    play,
    sent,
    session,
    stopped,
)

from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType
from rtms_cli.session.life import Stage
from rtms_cli.session.rules import BACK_OFF_S, back_off_s
from rtms_cli.session.session import Session

UNIFIED = AUDIO_AND_TRANSCRIPT
TWO_SOCKETS = MediaRequest(AUDIO_AND_TRANSCRIPT.types, split=True)

AGAIN = """
{t}.1  signaling open
<<     send signaling 1
{t}.2  signaling {{"msg_type": 2, "status_code": 0, "media_server": {{"server_urls": {{"all": "ws://m2"}}}}}}
<<     send signaling 5
<<     open media ws://m2
{t}.3  media open
<<     send media 3
{t}.4  media {{"msg_type": 4, "status_code": 0}}
<<     send signaling 7
"""
"""Both sockets come up again after the second `t`."""

REBUILT = f"""
5    signaling closed 1006
<<   close media
<<   warn signaling: lost
8.8  tick
<<   open signaling ws://s
{AGAIN.format(t=9)}
"""
"""A connection is lost, and up again at 9.4 s."""


ALIVE = """
30   signaling {"msg_type": 12}
<<   send signaling 13
30   media {"msg_type": 12}
<<   send media 13
60   signaling {"msg_type": 12}
<<   send signaling 13
60   media {"msg_type": 12}
<<   send media 13
"""
"""A minute passes."""


@dataclass
class Failure:
    """One row."""

    name: str
    happens: str
    request: MediaRequest = UNIFIED
    before: str = CONNECTED


OLDER = STARTED.replace('"event_ts": 1000', '"event_ts": 999').replace("ws://s", "ws://dead")

MOVED = f"""
5  {FAILOVER.replace("2000", "6000")}
<< warn signaling: the stream is announced again
<< close signaling
<< close media
<< open signaling ws://s2
"""
PAST = (
    (OLDER, "a started webhook of the past"),
    (STARTED, "a started webhook of the past"),
    (stopped(6, 5_999), "a stop webhook came that is older than the stream's start"),
    (stopped(8, "5"), "a stop webhook came that is older than the stream's start"),
    (interrupted(5_999), "an interrupted webhook came that is older than the stream's start"),
)
"""What is older than a start of `event_ts` 6000, and what is said of it."""

FAILURES = [
    Failure(
        "an event 7 between two sessions is looked into when the second goes on",
        """
        5    signaling {"msg_type": 9, "rtms_session_id": "a", "state": 5}
        6    signaling {"msg_type": 6, "event": {"event_type": 7}}
        9    signaling {"msg_type": 9, "rtms_session_id": "b", "state": 2}
        11   tick
        <<   close media
        <<   warn media: lost: event 7 MEDIA_CONNECTION_INTERRUPTED, and nothing else for 5 s
        """,
    ),
    Failure(
        "event 7 where another kind of media was refused: what is left is rebuilt",
        """
        5    media.transcript closed 1006
        <<   warn media.transcript: lost
        8.8  tick
        <<   open media.transcript ws://t
        8.9  media.transcript open
        <<   send media.transcript 3
        9    media.transcript {"msg_type": 4, "status_code": 12}
        <<   warn signaling: transcript is not granted
        <<   close media.transcript
        <<   warn media.transcript: given up
        40   signaling {"msg_type": 6, "event": {"event_type": 7}}
        <<   close media.audio
        <<   warn media.audio: lost: event 7 MEDIA_CONNECTION_INTERRUPTED
        """,
        TWO_SOCKETS,
        SPLIT,
    ),
    Failure(
        "a started webhook of the past, at another URL, changes nothing",
        f"""
        5  {OLDER}
        << warn signaling: a started webhook of the past
        """,
    ),
    *(
        Failure(
            f"an interrupted webhook that comes late, and is older than the rebuilt connection ({event_ts!r})",
            f"""
            {REBUILT}
            {late}   {interrupted(event_ts)}
            <<   warn signaling: an interrupted webhook came about the connection before this one
            {late + 6} tick
            """,
        )
        for late, event_ts in ((12, 6_000), (44, 6_000), (44, 9_000), (44, "6000"), (44, 6_000.0))
    ),
    Failure(
        "a keep-alive tells that the start webhook was under way for 2 s: by Zoom's clock the loss is the old one",
        f"""
        3    signaling {{"msg_type": 12, "timestamp": 6000}}
        <<   send signaling 13
        {REBUILT}
        44   {interrupted(11_000)}
        <<   warn signaling: an interrupted webhook came about the connection before this one
        """,
    ),
    Failure(
        "an interrupted webhook that is newer than the rebuilt connection is news",
        f"""
        {REBUILT}
        44   {interrupted(44_500)}
        <<   close signaling
        <<   close media
        <<   warn signaling: lost: an interrupted webhook came
        """,
    ),
    Failure(
        "a failover whose webhook was under way for a minute does not set Zoom's clock back",
        f"""
        65 {FAILOVER.replace("2000", "6000")}
        << warn signaling: the stream is announced again
        << close signaling
        << close media
        << open signaling ws://s2
        {AGAIN.format(t=65)}
        70 {interrupted(64_500)}
        << warn signaling: an interrupted webhook came about the connection before this one
        """,
        before=CONNECTED + ALIVE,
    ),
    *(
        Failure(
            f"a failover without a time is newer than what it takes the place of: {line}",
            f"""
            {MOVED.replace('"event_ts": 6000, ', "")}
            {AGAIN.format(t=5)}
            7 {line}
            << warn signaling: {what}
            """,
        )
        for line, what in (PAST[0], PAST[1], (stopped(6, 999), PAST[2][1]), (interrupted(999), PAST[4][1]))
    ),
    *(
        Failure(
            f"older than the start that the stream runs by: {after_s} s after the failover",
            f"""
            {MOVED}
            """
            + (AGAIN.format(t=5) if after_s > 5 else "")
            + "".join(f"{after_s + n} {line}\n<< warn signaling: {what}\n" for n, (line, what) in enumerate(PAST)),
        )
        for after_s in (5, 7)  # before the new server answers, and after
    ),
    Failure(
        "media that were granted are refused with 1: the server has lost our signaling, both are rebuilt",
        """
        5    media closed 1006
        <<   warn media: lost
        8.8  tick
        <<   open media ws://m
        8.9  media open
        <<   send media 3
        9    media {"msg_type": 4, "status_code": 1}
        <<   close signaling
        <<   close media
        <<   warn signaling: lost: media handshake refused: status_code 1 STATUS_INVALID_MESSAGE_TYPE
        """,
    ),
    Failure(
        "event 7 names no socket, and both were heard just now: the one that stays silent is rebuilt",
        f"""
        4.9  media.audio {PACKET}
        4.9  media.transcript {{"msg_type": 12, "timestamp": 1}}
        <<   send media.transcript 13
        5    signaling {{"msg_type": 6, "event": {{"event_type": 7}}}}
        9    media.audio {PACKET}
        10   tick
        <<   close media.transcript
        <<   warn media.transcript: lost: event 7 MEDIA_CONNECTION_INTERRUPTED, and nothing else for 5 s
        """,
        TWO_SOCKETS,
        SPLIT,
    ),
    Failure(
        "the numbers of event_code are not public: 7 is not the event 7",
        """
        5    signaling {"msg_type": 6, "event": {"event_code": 7}}
        11   tick
        """,
    ),
    Failure(
        "what was heard after a first sign does not disprove a second",
        f"""
        {REBUILT}
        12   {interrupted(13_000)}
        14   media {PACKET}
        16   {interrupted(13_000)}
        21   tick
        <<   close signaling
        <<   close media
        <<   warn signaling: lost: an interrupted webhook came, and nothing else for 5 s
        """,
    ),
    Failure(
        "what was under way when the sign came does not prove that the connection lives",
        f"""
        {REBUILT}
        12   {interrupted(13_000)}
        12.2 media {PACKET}
        17   tick
        <<   close signaling
        <<   close media
        <<   warn signaling: lost: an interrupted webhook came, and nothing else for 5 s
        """,
    ),
    Failure(
        "a media socket that had no keep-alive yet is dead after 65 s where another has them",
        """
        10   media.audio {"msg_type": 12, "timestamp": 1}
        <<   send media.audio 13
        40   media.audio {"msg_type": 12, "timestamp": 1}
        <<   send media.audio 13
        40   signaling {"msg_type": 12, "timestamp": 1}
        <<   send signaling 13
        66   tick
        <<   close media.transcript
        <<   warn media.transcript: lost: neither keep-alive nor data for 65 s
        """,
        TWO_SOCKETS,
        SPLIT,
    ),
    Failure(
        "server failover: another event_ts and URL rebuild both at once",
        f"""
        5  {FAILOVER}
        << warn signaling: the stream is announced again
        << close signaling
        << close media
        << open signaling ws://s2
        """
        + AGAIN.format(t=5),
    ),
    Failure("a retried webhook changes nothing", f"5 {STARTED}"),
    Failure(
        "signaling closes: the media go with it, both are rebuilt",
        """
        5  signaling closed 1006
        << close media
        << warn signaling: lost: closed with 1006; next try in 3.
        8.8 tick
        << open signaling ws://s
        """
        + AGAIN.format(t=9),
    ),
    Failure(
        "an interrupted webhook, sockets still open",
        f"""
        5  {INTERRUPTED}
        << close signaling
        << close media
        << warn signaling: lost: an interrupted webhook came
        8.8 tick
        << open signaling ws://s
        """
        + AGAIN.format(t=9),
    ),
    Failure(
        "8 INTERRUPTED with reason 13",
        """
        5  signaling {"msg_type": 8, "state": 2, "reason": 13}
        << close signaling
        << close media
        << warn signaling: lost: 8 STREAM_STATE_UPDATE says 13 STOP_BC_SIGNAL_CONNECTION_INTERRUPTED
        """,
    ),
    Failure(
        "several signals of one loss rebuild once",
        f"""
        5    signaling {{"msg_type": 8, "state": 2, "reason": 15}}
        <<   close signaling
        <<   close media
        <<   warn signaling: lost
        5.1  {INTERRUPTED}
        5.2  signaling {{"msg_type": 8, "state": 2, "reason": 13}}
        5.3  signaling closed 1006
        8.8  tick
        <<   open signaling ws://s
        """
        + AGAIN.format(t=9)
        + f"""
        12   {interrupted(13_000)}
        16.9 media {PACKET}
        17   tick
        """,
    ),
    Failure(
        "a late signal, and nothing comes any more: it meant the new connection",
        f"""
        {REBUILT}
        12   {interrupted(13_000)}
        14   {interrupted(13_000)}
        17   tick
        <<   close signaling
        <<   close media
        <<   warn signaling: lost: an interrupted webhook came, and nothing else for 5 s
        """,
    ),
    Failure(
        "a late event 7, and nothing comes any more on the socket: it is rebuilt",
        f"""
        5    media.transcript closed 1006
        <<   warn media.transcript: lost
        8.8  tick
        <<   open media.transcript ws://t
        8.9  media.transcript open
        <<   send media.transcript 3
        9    media.transcript {{"msg_type": 4, "status_code": 0}}
        10   signaling {{"msg_type": 6, "event": {{"event_type": 7, "media_type": 8}}}}
        14   media.audio {PACKET}
        15   tick
        <<   close media.transcript
        <<   warn media.transcript: lost: event 7 MEDIA_CONNECTION_INTERRUPTED, and nothing else for 5 s
        """,
        TWO_SOCKETS,
        SPLIT,
    ),
    Failure(
        "an identical started webhook while disconnected reconnects at once",
        f"""
        5  signaling closed 1006
        << close media
        << warn signaling: lost
        6  {STARTED}
        << warn signaling: the stream is announced again
        << open signaling ws://s
        """
        + AGAIN.format(t=6),
    ),
    Failure(
        "one media socket closes: only that one is rebuilt, without another 7",
        f"""
        5    media.transcript closed 1006
        <<   warn media.transcript: lost
        6    media.audio {PACKET}
        8.8  tick
        <<   open media.transcript ws://t
        8.9  media.transcript open
        <<   send media.transcript 3
        9    media.transcript {{"msg_type": 4, "status_code": 0}}
        """,
        TWO_SOCKETS,
        SPLIT,
    ),
    Failure(
        "event 7 names the lost media socket by its type",
        """
        5    signaling {"msg_type": 6, "event": {"event_type": 7, "media_type": 8}}
        <<   close media.transcript
        <<   warn media.transcript: lost: event 7
        """,
        TWO_SOCKETS,
        SPLIT,
    ),
    Failure(
        "8 INTERRUPTED with reason 14: the one media socket there is",
        """
        5    signaling {"msg_type": 8, "state": 2, "reason": 14}
        <<   close media
        <<   warn media: lost
        5.1  signaling {"msg_type": 6, "event": {"event_type": 7}}
        """,
    ),
    Failure(
        "neither keep-alive nor data for 65 s: rebuilt unasked",
        """
        1     media {"msg_type": 12, "timestamp": 1}
        <<    send media 13
        1     signaling {"msg_type": 12, "timestamp": 1}
        <<    send signaling 13
        60    signaling {"msg_type": 12, "timestamp": 1}
        <<    send signaling 13
        66    tick
        <<    close media
        <<    warn media: lost: neither keep-alive nor data for 65 s
        """,
    ),
    Failure(
        "media without keep-alives of its own may be silent while there is life elsewhere",
        """
        60    signaling {"msg_type": 12, "timestamp": 1}
        <<    send signaling 13
        120   signaling {"msg_type": 12, "timestamp": 1}
        <<    send signaling 13
        180   signaling {"msg_type": 12, "timestamp": 1}
        <<    send signaling 13
        """,
    ),
    Failure(
        "a reconnect is refused as duplicate, then accepted",
        """
        5    signaling closed 1006
        <<   close media
        <<   warn signaling: lost
        8.8  tick
        <<   open signaling ws://s
        8.9  signaling open
        <<   send signaling 1
        9    signaling {"msg_type": 2, "status_code": 8}
        <<   close signaling
        <<   warn signaling: no connection: signaling handshake refused: status_code 8 STATUS_DUPLICATE_SIGNAL_REQUEST
        16.5 tick
        <<   open signaling ws://s
        """,
    ),
    Failure(
        "a media reconnect is refused as existing, and tried again",
        """
        5    media closed 1006
        <<   warn media: lost
        8.8  tick
        <<   open media ws://m
        8.9  media open
        <<   send media 3
        9    media {"msg_type": 4, "status_code": 16}
        <<   close media
        <<   warn media: no connection: media handshake refused: status_code 16 STATUS_DUPLICATE_MEDIA_DATA_CONNECTION
        """,
    ),
]


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.name)
def test_failure(row: Failure) -> None:
    machine = session(row.request)
    play(machine, row.before)
    play(machine, row.happens)


@dataclass
class Refusal:
    """A refused `1`: the answer, and whether it is tried again."""

    answer: str
    warning: str
    again: bool


@pytest.mark.parametrize(
    "row",
    [
        Refusal(
            '{"msg_type": 2, "status_code": 3}',
            "signaling handshake refused: status_code 3 STATUS_INVALID_SIGNATURE",
            False,
        ),
        Refusal(
            '{"msg_type": 2, "status_code": 2}',
            "signaling handshake refused: status_code 2 STATUS_INVALID_RTMS_STREAM_ID",
            False,
        ),
        Refusal(
            '{"msg_type": 2, "status_code": 7}',
            "signaling handshake refused: status_code 7 STATUS_INVALID_MEDIA_TYPE",
            False,
        ),
        Refusal(
            '{"msg_type": 2, "status_code": 8}',
            "no connection: signaling handshake refused: status_code 8 STATUS_DUPLICATE_SIGNAL_REQUEST",
            True,
        ),
        Refusal(
            '{"msg_type": 2, "status_code": 15}',
            "signaling handshake refused: status_code 15 STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST: all media connections "
            "of this stream exist already. On signaling, some servers mean a wrong signature.",
            False,
        ),
        Refusal(
            '{"msg_type": 2, "status_code": 16}',
            "signaling handshake refused: status_code 16 STATUS_DUPLICATE_MEDIA_DATA_CONNECTION: another connection "
            "for this media type exists already. On signaling, some servers mean a wrong id.",
            False,
        ),
        Refusal('{"msg_type": 2}', "signaling handshake refused: no status_code", False),
        Refusal(
            '{"msg_type": 2, "status_code": 999}', "signaling handshake refused: status_code 999 (undocumented)", False
        ),
        Refusal(
            '{"msg_type": 2, "status_code": 45}',
            "no connection: signaling handshake refused: status_code 45 STATUS_INTERNAL_EXCEPTION",
            True,
        ),
    ],
)
def test_refused_signaling(row: Refusal) -> None:
    machine = session()
    after = f"<< close signaling\n<< warn signaling: {row.warning}" if row.again else ""
    if not row.again:
        after = f"<< warn signaling: {row.warning}\n<< finish failed None"
    play(machine, f"{HANDSHAKE}\n0.2 signaling {row.answer}\n{after}")


@pytest.mark.parametrize("status", [*range(9, 14), *range(17, 40), 2, 3, 43, 46, 47])
def test_a_refused_kind_of_media_does_not_cost_the_others(status: int) -> None:
    """What concerns one kind is asked for again without it; what concerns all ends the session."""
    kinds = {1: [9, *range(18, 25)], 8: [12, 36, 37, 43, 46]}
    kind = next((bit for bit, statuses in kinds.items() if status in statuses), None)
    machine = session(UNIFIED)
    start = CONNECTED.split("0.4")[0] + f'0.4 media {{"msg_type": 4, "status_code": {status}}}\n'
    if kind is None:
        play(
            machine,
            start
            + "<< close media\n<< warn signaling: audio is not\n<< warn signaling: transcript is not\n"
            + "<< warn media: given up\n<< warn signaling: media handshake refused\n<< finish failed None",
        )
        assert machine.nothing_granted
        return
    name = {1: "audio", 8: "transcript"}[kind]
    play(
        machine,
        start
        + f"<< warn signaling: {name} is not granted: status_code {status} STATUS_\n<< close media\n<< open media ws://m\n"
        + "0.5 media open\n<< send media 3\n"
        + '0.6 media {"msg_type": 4, "status_code": 0}\n<< send signaling 7',
    )
    assert list(machine.snapshot().refused) == [name]


ON_ALL = CONNECTED.split("0.4")[0]
"""A session whose `3` on the unified socket waits for its answer, at 0.3 s."""


@pytest.mark.parametrize("status", [7, 14, '"STATUS_MEDIA_TYPE_INVALID_VALUE"'])
@pytest.mark.parametrize("types", [MediaType.AUDIO, UNIFIED.types, EVERY_MEDIA & ~MediaType.CHAT])
def test_a_sum_that_is_refused_is_asked_for_as_everything_where_there_is_no_other_url(
    types: MediaType, status: object
) -> None:
    machine = session(MediaRequest(types))
    commands = play(
        machine,
        f"""{ON_ALL}
        0.4  media {{"msg_type": 4, "status_code": {status}}}
        <<   close media
        <<   warn media: status_code
        <<   open media ws://m
        0.5  media open
        <<   send media 3
        0.6  media {{"msg_type": 4, "status_code": 0}}
        <<   send signaling 7
        5    media closed 1006
        <<   warn media: lost
        9    tick
        <<   open media ws://m
        9.1  media open
        <<   send media 3
        """,
    )
    assert [message["media_type"] for message in sent(commands, 3)] == [int(types), 32, 32]
    assert sent(commands, 3)[0]["media_params"] == sent(commands, 3)[1]["media_params"]
    assert not machine.snapshot().refused


def test_a_sum_that_is_refused_beside_other_sockets_asks_for_nothing_twice() -> None:
    machine = session(MediaRequest(MediaType.AUDIO | MediaType.VIDEO | MediaType.CHAT, split=True))
    commands = play(
        machine,
        f"""{ON_ALL.replace('{"all": "ws://m"}', '{"audio": "ws://a", "all": "ws://m"}').split("<<   open media")[0]}
        <<   open media.audio ws://a
        <<   open media ws://m
        0.3  media.audio open
        <<   send media.audio 3
        0.3  media open
        <<   send media 3
        0.4  media {{"msg_type": 4, "status_code": 14}}
        <<   close media
        <<   warn signaling: video is not granted
        <<   warn signaling: chat is not granted
        <<   warn media: given up
        0.6  media.audio {{"msg_type": 4, "status_code": 0}}
        <<   send signaling 7
        """,
    )
    assert [message["media_type"] for message in sent(commands, 3)] == [1, 18]
    assert set(machine.snapshot().refused) == {"video", "chat"}


def test_everything_that_is_refused_is_refused() -> None:
    play(
        session(),
        f"""{ON_ALL}
        0.4  media {{"msg_type": 4, "status_code": 14}}
        <<   close media
        <<   warn media: status_code
        <<   open media ws://m
        0.5  media open
        <<   send media 3
        0.6  media {{"msg_type": 4, "status_code": 14}}
        <<   close media
        <<   warn signaling: audio is not granted
        <<   warn media: given up
        <<   warn signaling: media handshake refused
        <<   finish failed None
        """,
    )


@pytest.mark.parametrize("status", [7, 14])
def test_a_sum_that_is_refused_is_split_where_each_kind_has_a_url(status: int) -> None:
    machine = session(UNIFIED)
    urls = '{"audio": "ws://a", "transcript": "ws://t", "all": "ws://m"}'
    opening = ON_ALL.replace('{"all": "ws://m"}', urls)
    commands = play(
        machine,
        f"""{opening}
        0.4  media {{"msg_type": 4, "status_code": {status}}}
        <<   close media
        <<   warn media: status_code
        <<   open media.audio ws://a
        <<   open media.transcript ws://t
        0.5  media closed 1000
        0.5  media.audio open
        <<   send media.audio 3
        0.5  media.transcript open
        <<   send media.transcript 3
        0.6  media.audio {{"msg_type": 4, "status_code": 0}}
        0.6  media.transcript {{"msg_type": 4, "status_code": 0}}
        <<   send signaling 7
        5    signaling closed 1006
        <<   close media.audio
        <<   close media.transcript
        <<   warn signaling: lost
        9    tick
        <<   open signaling ws://s
        9.1  signaling open
        <<   send signaling 1
        9.2  signaling {{"msg_type": 2, "status_code": 0, "server_urls": {urls}}}
        <<   send signaling 5
        <<   open media.audio ws://a
        <<   open media.transcript ws://t
        """,
    )
    assert [message["media_type"] for message in sent(commands, 3)] == [9, 1, 8]
    assert not machine.snapshot().refused


def test_a_server_that_does_not_know_32_is_asked_for_the_kinds_that_have_a_url() -> None:
    machine = session(MediaRequest(EVERY_MEDIA))
    commands = play(
        machine,
        f"""{ON_ALL.replace('{"all": "ws://m"}', '{"audio": "ws://a", "chat": "ws://c", "all": "ws://m"}')}
        0.4  media {{"msg_type": 4, "status_code": 14}}
        <<   close media
        <<   warn signaling: video is not granted
        <<   warn signaling: share is not granted
        <<   warn signaling: transcript is not granted
        <<   warn media: status_code 14
        <<   open media.audio ws://a
        <<   open media.chat ws://c
        0.5  media.audio open
        <<   send media.audio 3
        0.5  media.chat open
        <<   send media.chat 3
        """,
    )
    assert [message["media_type"] for message in sent(commands, 3)] == [32, 1, 16]


def test_a_close_with_1000_right_after_1_is_explained_and_not_tried_for_ever() -> None:
    explained = "warn signaling: no connection: closed with 1000 right after the handshake: many see a wrong signature"
    machine = session()
    play(machine, f"{HANDSHAKE}\n0.2 signaling closed 1000\n<< {explained}")
    play(
        machine,
        "4 tick\n<< open signaling ws://s\n4.1 signaling open\n<< send signaling 1\n"
        f"4.2 signaling closed 1000\n<< {explained}",
    )
    play(
        machine,
        "12 tick\n<< open signaling ws://s\n12.1 signaling open\n<< send signaling 1\n12.2 signaling closed 1000\n"
        "<< warn signaling: signaling closed with 1000 right after the handshake\n<< finish failed None",
    )


def test_only_refusals_as_a_duplicate_are_counted_as_such() -> None:
    """What never came to a `1` is not one of its tries."""
    machine = session()
    play(machine, "0 tick\n<< open signaling ws://s")
    lost = "<< warn signaling: no connection"
    play(machine, f"0.1 signaling refused nobody\n{lost}\n4 tick\n<< open signaling ws://s")
    play(machine, f"4.1 signaling refused nobody\n{lost}\n11 tick\n<< open signaling ws://s")
    shaken = "signaling open\n<< send signaling 1"
    refused = 'signaling {"msg_type": 2, "status_code": 8}'
    play(machine, f"11.1 {shaken}\n11.2 {refused}\n<< close signaling\n{lost}\n12.7 tick\n<< open signaling ws://s")
    play(machine, f"12.8 {shaken}\n12.9 {refused}\n<< close signaling\n{lost}\n15.9 tick\n<< open signaling ws://s")
    play(machine, f"16 {shaken}\n16.1 {refused}\n<< warn signaling: signaling\n<< finish failed None")


def test_a_new_announcement_has_its_own_closes_with_1000() -> None:
    early = "signaling open\n<< send signaling 1\n{t} signaling closed 1000\n<< warn signaling: no connection"
    machine = session()
    play(machine, "0 tick\n<< open signaling ws://s")
    play(machine, "0.1 " + early.format(t=0.2) + "\n4 tick\n<< open signaling ws://s")
    play(machine, "4.1 " + early.format(t=4.2))
    play(machine, f"5 {FAILOVER}\n<< warn signaling: the stream is announced again\n<< open signaling ws://s2")
    play(machine, "5.1 " + early.format(t=5.2) + "\n9 tick\n<< open signaling ws://s2")


def test_closes_with_1000_after_a_signature_that_was_accepted_are_ordinary_losses() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(machine, "5 signaling closed 1006\n<< close media\n<< warn signaling: lost")
    for opened_s in (9, 17, 32, 64):
        play(
            machine,
            f"""
            {opened_s}    tick
            <<            open signaling ws://s
            {opened_s}.1  signaling open
            <<            send signaling 1
            {opened_s}.2  signaling closed 1000
            << {"warn signaling: no connection" if opened_s < 64 else "warn"}
            """,
        )
    play(machine, "65 tick\n<< finish interrupted None")


def test_media_that_the_server_never_knows_are_given_up() -> None:
    machine = session()
    lost = "<< close signaling\n<< close media\n<< warn signaling: lost"
    given_up = """
    << close media
    << warn signaling: audio is not granted
    << warn media: given up
    << warn signaling: media handshake refused
    << finish failed None
    """
    for t, outcome in ((0, lost), (5, lost), (10, lost), (15, given_up)):
        opening = AGAIN.format(t=t).split(f"{t}.4")[0]
        refused = f'{t}.4 media {{"msg_type": 4, "status_code": 1}}'
        play(machine, f"{t} tick\n<< open signaling ws://s\n{opening}\n{refused}\n{outcome}")


def test_a_session_that_continues_a_recording_knows_that_its_signature_is_right() -> None:
    machine = Session(STREAM, Signature("a" * 64), AUDIO, continues=True)
    for opened_s in (0, 4, 12, 25):
        play(
            machine,
            f"""
            {opened_s}    tick
            <<            open signaling ws://s
            {opened_s}.1  signaling open
            <<            send signaling 1
            {opened_s}.2  signaling closed 1000
            <<            warn signaling: no connection: closed with 1000
            """,
        )


def test_a_session_that_continues_a_recording_does_not_make_it_a_failure() -> None:
    machine = Session(STREAM, Signature("a" * 64), AUDIO, continues=True)
    play(machine, HANDSHAKE + '0.2 signaling {"msg_type": 2, "status_code": 2}\n<< finish interrupted None')


def test_a_first_handshake_that_is_refused_as_a_duplicate_is_tried_three_times() -> None:
    """It passes soon: after 1.5 s, and twice as long (PROTOCOL §8)."""
    play(
        session(),
        f"""{HANDSHAKE}
        0.2  signaling {{"msg_type": 2, "status_code": 8}}
        <<   close signaling
        <<   warn signaling: no connection: signaling handshake refused: status_code 8
        1.69 signaling {{"msg_type": 13}}
        1.7  tick
        <<   open signaling ws://s
        1.8  signaling open
        <<   send signaling 1
        1.9  signaling {{"msg_type": 2, "status": 8}}
        <<   close signaling
        <<   warn signaling: no connection: signaling handshake refused: status_code 8
        4.89 signaling {{"msg_type": 13}}
        4.9  tick
        <<   open signaling ws://s
        5    signaling open
        <<   send signaling 1
        5.1  signaling {{"msg_type": 2, "status_code": 8}}
        <<   warn signaling: signaling handshake refused: status_code 8
        <<   finish failed None
        """,
    )


def test_what_can_never_be_opened_is_not_tried_again() -> None:
    """As a server that demands a client certificate: what else there is goes on."""
    play(
        session(),
        """
        0    tick
        <<   open signaling ws://s
        0.1  signaling refused for good: a client certificate
        <<   warn signaling: for good: a client certificate
        <<   finish failed None
        """,
    )
    play(
        session(TWO_SOCKETS),
        f"""{SPLIT_OPENING}
        0.3  media.audio refused for good: a client certificate
        <<   warn media.audio: given up: for good: a client certificate
        0.3  media.transcript open
        <<   send media.transcript 3
        0.4  media.transcript {{"msg_type": 4, "status_code": 0}}
        <<   send signaling 7
        60   signaling {{"msg_type": 13}}
        """,
    )


def test_a_reconnect_that_is_refused_as_a_duplicate_backs_off_as_usual() -> None:
    """The server may take as long as its time-out to notice that the former connection is gone."""
    play(
        session(),
        f"""{CONNECTED}
        5    signaling closed 1006
        <<   close media
        <<   warn signaling: lost
        9    tick
        <<   open signaling ws://s
        9.1  signaling open
        <<   send signaling 1
        9.2  signaling {{"msg_type": 2, "status_code": 8}}
        <<   close signaling
        <<   warn signaling: no connection: signaling handshake refused: status_code 8
        15   signaling {{"msg_type": 13}}
        17   tick
        <<   open signaling ws://s
        """,
    )


def test_a_server_that_never_comes_up_is_given_up_after_sixty_seconds() -> None:
    machine = session()
    machine.tick(0)
    tries, at_us, status = 0, 0, ""
    while not status:
        tries += 1
        for command in [*feed(machine, at_us + 1000, "signaling refused nobody listens")]:
            if describe(command).startswith("finish"):
                status = describe(command)
        while not status and (due := machine.deadline_us) is not None:
            at_us = due
            words = [describe(command) for command in machine.tick(due)]
            status = next((word for word in words if word.startswith("finish")), "")
            if any(word.startswith("open") for word in words):
                break
    assert status == "finish failed None"
    assert at_us == 60_000_000
    assert 4 <= tries <= 6


def test_a_lost_session_is_given_up_as_interrupted() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(machine, f"4 media {PACKET}\n5 signaling closed 1006\n<< close media\n<< warn signaling: lost")
    status, at_us = "", 5_000_000
    while not status:
        due = machine.deadline_us
        assert due is not None
        at_us = due
        words = [describe(command) for command in machine.tick(due)]
        if any(word.startswith("open") for word in words):
            words = [describe(command) for command in feed(machine, at_us + 1000, "signaling refused gone")]
        status = next((word for word in words if word.startswith("finish")), "")
    assert status == "finish interrupted None"
    assert at_us == 65_000_000


@given(tries=st.integers(0, 10_000), stream_id=st.text())
def test_back_off_stays_within_its_bounds(tries: int, stream_id: str) -> None:
    first, longest = BACK_OFF_S
    wait = back_off_s(tries, stream_id)
    assert first <= wait <= longest
    assert wait >= min(longest, first * 2 ** min(tries, 20))
    assert wait <= first * 2 ** min(tries, 20) * 1.25


@pytest.mark.parametrize("order", list(permutations((5, 20, 60))))
def test_what_is_sent_again_after_5_20_and_60_minutes_changes_nothing(order: tuple[int, ...]) -> None:
    """Of what is older than the start that the stream runs by, each comes at one of the three times."""
    machine = session(UNIFIED)
    play(machine, CONNECTED)
    play(machine, MOVED)
    play(machine, AGAIN.format(t=5))
    for second in range(10, 3700, 10):
        play(machine, f'{second} signaling {{"msg_type": 12}}\n<< send signaling 13')
        play(machine, f'{second} media {{"msg_type": 12}}\n<< send media 13')
        for minutes, (line, what) in zip(order, PAST[1::2], strict=False):
            if second == 60 * minutes:
                play(machine, f"{second} {line}\n<< warn signaling: {what}")
    assert machine.snapshot().stage is Stage.STREAMING


@pytest.mark.parametrize("odd", ["6000.0", 6_000.9, "soon", None, True, [], 6_000_000_000_000_000])
def test_a_stop_is_news_where_its_time_cannot_be_read_or_is_not_older(odd: object) -> None:
    machine = session(UNIFIED)
    play(machine, CONNECTED)
    play(machine, MOVED)
    play(machine, f"6 {stopped(6, odd)}")
    assert machine.snapshot().stage is Stage.ENDING
