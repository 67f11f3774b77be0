"""Where subtitles are cut: in every script, and never in the middle of a letter."""

import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.export.breaking import flat, joined, pieces, width
from rtms_cli.export.text import cues, merged, srt
from rtms_cli.protocol.sentences import Sentence

JAPANESE = "これは日本語の長い文章です。改行の位置を「確認」するためのテストで、空白がありません。"
CHINESE = "我们今天讨论第三季度的数字，然后再看看下一步该怎么做。"
THAI = "สวัสดีครับผมชื่อจอห์นและผมชอบกินข้าวกับปลาทุกวันในตอนเช้า"
ARABIC = "هذا اختبار طويل للنص العربي الذي يجب أن يبقى بترتيبه الصحيح، أليس كذلك؟ "
HEBREW = "זהו מבחן ארוך של טקסט בעברית שצריך להישאר בסדר הנכון. "
HINDI = "यह हिन्दी में एक लंबा वाक्य है जिसे सही जगह पर तोड़ा जाना चाहिए। "
FAMILY = "👨‍👩‍👧‍👦"
FLAG = "🇩🇪"
MARKED = "e\u0301\u0323"


def bare(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("text", [JAPANESE, CHINESE, THAI, ARABIC, HEBREW, HINDI, "Hello there, you. "])
def test_every_script_is_cut_by_its_width(text: str) -> None:
    found = pieces(text * 8, 84)
    assert len(found) >= width(text * 8) // 84
    assert max(map(width, found)) <= 84
    assert bare("".join(found)) == bare(text * 8)  # all of it, in its order


def test_sentences_stay_whole_where_they_can() -> None:
    assert pieces(JAPANESE + CHINESE, 84) == [
        "これは日本語の長い文章です。",
        "改行の位置を「確認」するためのテストで、空白がありません。",
        CHINESE,
    ]


def test_no_line_begins_with_what_must_not_begin_one() -> None:
    found = pieces("ああああああああああああああああああああああああああああああああああああああああああ。」" * 3, 84)
    assert [piece[0] for piece in found] == ["あ"] * len(found)


def test_thai_is_cut_between_words() -> None:
    assert pieces("สวัสดีครับผมชื่อจอห์น", 4) == ["สวัสดี", "ครับ", "ผมชื่อ", "จอห์น"]


@pytest.mark.parametrize("letter", [FAMILY, FLAG, MARKED, "क्षि", "한", "ก็", "👍🏽", "1️⃣"])
def test_no_letter_is_cut(letter: str) -> None:
    for piece in pieces(letter * 200, 20):
        assert piece == letter * (len(piece) // len(letter))


def test_a_word_without_end_is_cut_too() -> None:
    assert [len(piece) for piece in pieces("x" * 200, 84)] == [84, 84, 32]
    assert pieces("http://example.com/" + "x" * 70, 84) == ["http://example.com/", "x" * 70]


LETTERS = st.sampled_from(
    ["a", "b", "あ", "ก", "な", "क्ष", "👍🏽", "שׁ", FAMILY, FLAG, MARKED, ".", "。", "\u00a0", " "]
)


@given(st.lists(LETTERS, max_size=100), st.integers(4, 20))
def test_nothing_is_lost_or_moved(letters: list[str], most: int) -> None:
    text = flat("a" + "".join(letters))
    found = pieces(text, most)
    assert bare("".join(found)) == bare(text)
    for piece in found:
        assert unicodedata.category(piece[0]) not in ("Mn", "Me", "Cf")


def test_a_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    for text in ("x" * 300_000, "あ" * 300_000, "e" + "\u0301" * 300_000, ". " * 150_000, THAI * 5_000):
        pieces(text, 84)
    assert time.process_time() - started < 30  # it is some 3 s; what is quadratic takes minutes


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        (" a\r\n b\u2028c\u3000d ", "a b c d"),
        ("a\x00\x1b[2Jb\x9b", "a[2Jb"),
        ("\ud83d!", "�!"),
        ("très\u00a0!", "très\u00a0!"),
    ],
)
def test_flat(given_text: str, expected: str) -> None:
    assert flat(given_text) == expected


def test_texts_are_joined_as_their_script_wants() -> None:
    assert joined("はい。", "そうです。") == "はい。そうです。"
    assert joined("네.", "맞아요.") == "네. 맞아요."
    assert joined("Yes.", "はい。") == "Yes. はい。"
    said = [Sentence(at, at + 1, 7, "Anna", "", text) for at, text in ((0.0, "はい。"), (1.0, "いいえ。"))]
    assert [one.text for one in merged(said, 1.5)] == ["はい。いいえ。"]


def test_sentences_with_one_start_share_the_time() -> None:
    said = [Sentence(1.0, 3.0, 7, "Anna", "", "first"), Sentence(1.0, 3.0, 7, "Anna", "", "other")]
    said.append(Sentence(9.0, 9.1, 8, "Bernd", "", "later"))
    assert cues(said) == [(1.0, 2.0, "Anna", "first"), (2.0, 3.0, "Anna", "other"), (9.0, 9.2, "Bernd", "later")]
    assert "first" in srt(said)


def test_people_who_talk_over_each_other_can_both_be_read() -> None:
    said = [Sentence(0.0, 4.0, 7, "Anna", "", "word " * 16), Sentence(0.1, 0.6, 8, "Bernd", "", "No!")]
    said.append(Sentence(4.0, 5.0, 7, "Anna", "", "Yes."))
    shown = [(name, end - start) for start, end, name, _ in cues(said)]
    assert [name for name, _ in shown] == ["Anna", "Bernd", "Anna"]
    assert all(seconds >= 1.0 for _, seconds in shown)


def test_a_text_of_blanks_makes_no_cue() -> None:
    assert cues([Sentence(0.0, 1.0, 7, "Anna", "", "\n \x00")]) == []


def test_icu_is_not_loaded_where_nothing_is_cut() -> None:
    code = (
        "import sys; from rtms_cli.export.breaking import pieces; pieces('はい。', 84); print('icu4py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
