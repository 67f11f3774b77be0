"""What a worker may do with its claims, and when it must not."""

from rtms_cli.fleet.claims import Claims, Holding, judge_end
from rtms_cli.fleet.dispatch import Claim, Held, News, Renewed, WorkerStatus

CLAIM = Claim("s1", 1, "r", "2026-11-28T06:00:00.000Z", (News(1, b"{}", "http"),), 0)


def test_a_lease_counts_from_when_it_was_asked_for_and_ends_early() -> None:
    claims = Claims(10)
    one = claims.take(CLAIM, asked_ms=1000, now_ms=3000)
    assert claims.may_connect(one, 12_999)
    assert not claims.may_connect(one, 13_000)
    claims.renewed(14_000, claims.held(), Renewed())
    assert claims.may_connect(one, 25_999)


def test_a_lost_claim_never_connects_again() -> None:
    claims = Claims(10)
    one = claims.take(CLAIM, 0, 0)
    changes = claims.renewed(5000, claims.held(), Renewed(lost=("s1",)))
    assert changes.lost == ("s1",)
    assert claims.renewed(5000, claims.held(), Renewed(lost=("s1",))).lost == (), "it is told once"
    assert not claims.may_connect(one, 5000)


def test_an_answer_about_an_earlier_claim_of_the_same_stream_says_nothing() -> None:
    claims = Claims(10)
    former = claims.take(CLAIM, 0, 0)
    asked = claims.held()
    one = claims.take(Claim("s1", 3, "r", CLAIM.created, CLAIM.news, 0), 6000, 6000)
    claims.drop(former)
    assert claims.renewed(5000, asked, Renewed(lost=("s1",))).lost == ()
    assert claims.may_connect(one, 6000)
    assert not claims.may_connect(former, 6000)


def test_news_is_kept_for_a_successor_and_told_once() -> None:
    claims = Claims(10)
    claims.take(CLAIM, 0, 0)
    answer = Renewed(news={"s1": (News(1, b"{}", "http"), News(2, b"stop", "events"))})
    assert [fresh.number for _, fresh in claims.renewed(0, claims.held(), answer).news] == [2]
    assert claims.renewed(0, claims.held(), answer).news == ()
    assert claims.held() == {"s1": Held(1, 2, "connecting")}


def test_a_queue_that_knows_nothing_gives_no_lease() -> None:
    claims = Claims(10)
    one = claims.take(CLAIM, 0, 0)
    assert claims.renewed(10_000, claims.held(), Renewed(unknown=("s1",))).restore == ("s1",)
    assert not claims.may_connect(one, 13_000)
    claims.restored("s1", 10_000, is_ours=True)
    assert claims.may_connect(one, 13_000)
    claims.restored("s1", 10_000, is_ours=False)
    assert not claims.may_connect(one, 13_000)


def test_a_late_loop_takes_fewer_streams() -> None:
    claims = Claims(10)
    assert claims.free == 10
    claims.late_s = 0.1
    assert (claims.free, claims.state) == (5, "late")
    claims.late_s = 0.25
    assert claims.free == 0
    claims.late_s, claims.is_draining = 0, True
    assert (claims.free, claims.status(WorkerStatus("a", 0, 0)).state) == (0, "draining")


def test_what_becomes_of_a_claim_whose_session_has_ended() -> None:
    one = Holding(CLAIM, since_ms=0, leased_ms=0)
    successor = Holding(Claim("s1", 2, "r", CLAIM.created, CLAIM.news, waited_ms=20_000), 0, 0)
    assert judge_end(one, "complete", None, 0, was_left=False).status == "complete"
    assert judge_end(one, "failed", 3, 0, was_left=False).status == "failed"
    assert not judge_end(one, "interrupted", None, 0, was_left=True).finishes
    back = judge_end(successor, "failed", 8, 10_000, was_left=False)
    assert (back.finishes, back.after_s) == (False, 5.0)
    assert not judge_end(successor, "failed", 8, 500_000, was_left=False).finishes  # cut off, its former owner records
    assert judge_end(successor, "failed", 8, 600_000, was_left=False).finishes
    assert judge_end(successor, "failed", 2, 0, was_left=False).status == "interrupted"


def test_when_the_queue_counts_as_away() -> None:
    claims = Claims(10)
    assert claims.away_ms(99_000) == 0
    claims.renewed(1000, {}, Renewed())
    assert claims.away_ms(11_000) == 0
    assert claims.away_ms(11_001) == 10_001


def test_a_stream_that_cannot_be_reached_from_here_is_left_once_and_not_when_it_is_dying() -> None:
    claims = Claims(10)
    claims.take(CLAIM, 0, 0)
    assert claims.unreached(19_999) == []
    assert claims.unreached(20_000) == ["s1"]
    assert claims.unreached(20_001) == []
    assert claims.rests_until_ms == 25_000
    claims = Claims(10)
    claims.take(CLAIM, 0, 0).state = "recording"
    assert claims.unreached(30_000) == []
    claims = Claims(10)
    claims.take(Claim("s1", 2, "r", CLAIM.created, CLAIM.news, waited_ms=36_000), 0, 0)
    assert claims.unreached(20_000) == [], "Zoom gives it up after 60 s: whoever has it tries to the end"
