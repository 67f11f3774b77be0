"""What lines of a transcript make, in any order and any shape."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol import sentences
from rtms_cli.protocol.parties import Parties
from rtms_cli.protocol.sentences import Sentence, SentenceReader

ZERO = 1_783_000_000_000
ANNA = {"user_id": 7, "user_name": "Anna"}
NOBODY = {"user_id": None, "user_name": None}


def line(text: object, at_s: float | None = 1.0, **fields: Any) -> dict[str, Any]:
    """A line as transcript.jsonl has it; the sentence takes a second, and then it comes."""
    start = None if at_s is None else ZERO + round(at_s * 1000)
    end = None if start is None else start + 1000
    t = None if at_s is None else at_s + 1.0
    return {"t": t, "timestamp": end, "start_time": start, "end_time": end, **ANNA, "text": text, **fields}


def reader(product: str = "meeting", origin: int | None = ZERO, names: Any = None) -> SentenceReader:
    return SentenceReader(Parties(product), origin, names or {})


def texts(*lines: dict[str, Any]) -> list[str]:
    return [one.text for one in reader().read(lines)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line("one"), line("two")], ["one", "two"]),  # two sentences of one speaker at one start
        ([line("Yes"), line("Yes, I do")], ["Yes", "Yes, I do"]),
        ([line("one"), line("one")], ["one"]),  # sent again
        ([line("one"), line("one", end_time=ZERO + 2500)], ["one", "one"]),
        ([line("one"), line("two"), line("zwei", attribute="UPDATE")], ["one", "zwei"]),
        ([line("one", end_time=ZERO + 1500), line("two"), line("eins", end_time=ZERO + 1500, attribute="UPDATE")],
         ["eins", "two"]),
        ([line("one"), line("", attribute="DELETE")], []),
        ([line("one"), line("", attribute=3)], []),
        ([line("one"), line(None, attribute="UPDATE")], ["one"]),
        ([line("late", attribute="UPDATE")], ["late"]),
        ([line("late", attribute="UPDATE"), line("early")], ["late"]),  # overtaken
        ([line("", attribute="DELETE"), line("early")], []),
        ([line("", attribute="DELETE"), line("afterwards", timestamp=ZERO + 9000)], ["afterwards"]),
        ([line("new", timestamp=ZERO + 5000), line("old", timestamp=ZERO + 4000, attribute="UPDATE")], ["new"]),
        ([line("one", 2.0), line("two", 1.0)], ["two", "one"]),
        ([line("one", start_time=0, end_time=0), line("two", start_time=0, end_time=0)], ["one", "two"]),
        ([line("", 1.0), line("one")], ["one"]),
        ([line(5), line(None, data="six"), line(["a"])], ["5", "six", '["a"]']),
        ([line("one"), line("two", user_id=8), line("drei", user_id=8, attribute="UPDATE")], ["one", "drei"]),
        ([line("one"), line("eins", **NOBODY, attribute="UPDATE")], ["eins"]),
        ([line("one", **NOBODY), line("eins", attribute="UPDATE")], ["eins"]),
        ([line("one"), line("", **NOBODY, attribute="DELETE")], []),
        ([line("one"), line("zwei", user_id=8, attribute="UPDATE")], ["one", "zwei"]),
    ],
)  # fmt: skip
def test_sentences(lines: list[dict[str, Any]], expected: list[str]) -> None:
    assert texts(*lines) == expected


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({}, 1.0, 2.0),
        ({"start_time": (ZERO + 1000) * 1000, "end_time": (ZERO + 2000) * 1000}, 1.0, 2.0),
        ({"start_time": ZERO / 1000 + 1.5, "end_time": ZERO // 1000 + 2}, 1.5, 2.0),
        ({"start_time": str(ZERO + 1000)}, 1.0, 2.0),
        ({"start_time": None, "end_time": None}, 2.0, 6.0),
        ({"start_time": 1500, "end_time": 2500}, 2.0, 6.0),  # on no clock that is known
        ({"start_time": ZERO - 10**9, "end_time": ZERO + 10**9}, 2.0, 6.0),
        ({"t": None}, 1.0, 2.0),
        ({"t": None, "start_time": None}, 2.0, 6.0),
        ({"start_time": ZERO + 1000, "end_time": ZERO}, 1.0, 5.0),
        ({"start_time": ZERO - 2000}, 0.0, 2.0),
        ({"start_time": {}, "end_time": []}, 2.0, 6.0),
        ({"t": float("inf"), "start_time": None}, 2.0, 6.0),
    ],
)
def test_times(fields: dict[str, Any], start: float, end: float) -> None:
    [one] = reader().read([line("x", **fields)])
    assert (one.start, one.end) == (start, end)


def test_without_a_zero_a_line_has_its_own_time() -> None:
    [one] = reader(origin=None).read([line("x", timestamp=None)])
    assert (one.start, one.end) == (2.0, 6.0)


def test_what_is_left_out_is_counted() -> None:
    one = reader()
    lines = [line("x", None), line(None), line(""), {"t": 3.0}, {}, line("y")]
    assert [sentence.text for sentence in one.read(lines)] == ["y"]
    assert (one.without_time, one.without_text) == (2, 2)


@pytest.mark.parametrize("product", ["contact_center", "phone"])
def test_parties_on_two_channels_are_two_speakers(product: str) -> None:
    lines = [line("a", user_id=None, user_name=None, channel_id=at % 2) for at in range(4)]
    lines += [line("b", user_id=0, user_name=None, channel_id=0), line("b", user_id=0, user_name=None, channel_id=1)]
    found = reader(product, names={1: "Bernd"}).read(lines)
    assert [(one.user_id, one.name, one.text) for one in found] == [
        (0, "channel 0", "a"), (1, "Bernd", "a"), (0, "channel 0", "b"), (1, "Bernd", "b"),
    ]  # fmt: skip


def test_who_speaks_tells_whose_a_line_is() -> None:
    speakers: Any = [(0.0, 7, "Anna"), (5.0, 8, "Bernd")]
    lines = [line("a", 1.0, user_id=None, user_name=None), line("b", 6.0, user_id=0, user_name=None)]
    found = SentenceReader(Parties("meeting"), ZERO, {}, speakers).read(lines)
    assert [(one.user_id, one.name) for one in found] == [(7, "Anna"), (8, "Bernd")]


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.integers(ZERO, ZERO + 5000),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@given(
    st.lists(st.dictionaries(st.sampled_from([*line(""), "attribute", "channel_id", "language"]), VALUE), max_size=5)
)
def test_no_shape_is_trusted(lines: list[dict[str, Any]]) -> None:
    for one in reader().read(lines):
        assert isinstance(one, Sentence)
        assert 0 <= one.start < one.end
        assert one.text


def test_many_sentences_with_one_start_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(sentences, "_is_the_same", lambda one, said: compared.append(said))
    assert len(texts(*[line(f"{number}") for number in range(1_000)])) == 1_000
    assert len(compared) < 200_000
