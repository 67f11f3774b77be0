"""The transition tables and the failure table: legal moves, and the document that says the same."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.numbers import StatusCode, StopReason
from rtms_cli.session import rules
from rtms_cli.session.channel import PHASES, Channel, IllegalMoveError, Phase
from rtms_cli.session.life import STAGES, Life, Stage
from rtms_cli.session.rules import FAILURES, Rebuild, Sign, rebuild_after

PROTOCOL = Path(__file__).resolve().parent.parent.parent / "docs" / "protocol.md"


def test_every_phase_and_stage_has_its_moves() -> None:
    assert set(PHASES) == set(Phase)
    assert set(STAGES) == set(Stage)
    assert all(phase not in moves for phase, moves in PHASES.items())
    assert not STAGES[Stage.ENDED]


@pytest.mark.parametrize("start", list(Phase))
@pytest.mark.parametrize("target", list(Phase))
def test_a_channel_makes_only_the_moves_of_the_table(start: Phase, target: Phase) -> None:
    channel = Channel("media")
    channel.phase = start
    if target in PHASES[start]:
        channel.enter(target, 5)
        assert (channel.phase, channel.since_us) == (target, 5)
    else:
        with pytest.raises(IllegalMoveError, match=f"from {start} to {target}"):
            channel.enter(target, 5)


@pytest.mark.parametrize("start", list(Stage))
@pytest.mark.parametrize("target", list(Stage))
def test_a_stream_makes_only_the_moves_of_the_table(start: Stage, target: Stage) -> None:
    life = Life(trusted=True)
    life.stage = start
    if target is start or target in STAGES[start]:
        life.enter(target)
        assert life.stage is target
    else:
        with pytest.raises(IllegalMoveError, match=f"from {start} to {target}"):
            life.enter(target)


def printed_table() -> list[str]:
    """The rows of PROTOCOL §9, printed from the code."""
    rows = ["| what happened | how it shows | what to rebuild |", "|---|---|---|"]
    return rows + [f"| {one.what} | {', or '.join(one.signs)} | {one.rebuild} |" for one in FAILURES]


def test_the_failure_table_is_the_documents_row_for_row() -> None:
    lines = PROTOCOL.read_text().splitlines()
    start = lines.index(printed_table()[0])
    written = lines[start : start + len(printed_table())]
    assert written == printed_table()
    assert not lines[start + len(written)].startswith("|")


@given(st.sampled_from(Sign), st.none() | st.integers(-5, 40))
def test_what_a_sign_means_stands_in_the_table(sign: Sign, reason: int | None) -> None:
    rebuild = rebuild_after(sign, reason)
    assert rebuild in [row.rebuild for row in FAILURES if sign in row.signs]
    if sign in (Sign.STOPPED, Sign.TERMINATED, Sign.STOP_WEBHOOK):
        failed = reason is not None and (10 <= reason <= 19 or reason == 24)
        assert rebuild is (Rebuild.NOTHING_YET if failed else Rebuild.NOTHING)


def test_the_words_of_a_row_have_the_numbers_that_the_code_acts_on() -> None:
    assert str(Sign.SIGNALING_STATE) == "`8` state 2 with reason 13 or 15"
    assert str(Sign.MEDIA_STATE) == "`8` state 2 with reason 14 or 16"
    assert {int(reason) for reason in StopReason if reason.is_failure} == {*range(10, 20), 24}


def test_a_status_is_retryable_or_concerns_a_kind_but_not_both() -> None:
    assert not rules.RETRYABLE & set(rules.FAULTY_KIND)
    assert set(rules.FAULTY_KIND) <= set(map(int, StatusCode))
