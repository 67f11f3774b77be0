"""What documents say of sentences."""

import json

import pytest
from markdown_it import MarkdownIt

from rtms_cli.export.text import as_json, md
from rtms_cli.protocol.sentences import Sentence


def said(text: str, user_id: int = 7, name: str = "Ann") -> Sentence:
    return Sentence(0.0, 1.0, user_id, name, "", text)


@pytest.mark.parametrize(
    "text",
    [
        "~~~ no fence", "~~struck~~", "===", "---", "# no", "1. first", "1) first", "2026. What a year", "- no", "+ no",
        "> no", "&lt;b&gt; &amp;", "<b>", "*a* _b_ `c`", "[a](b)", "![a](b)", "a | b", "$x$", "\\", "    code",
    ],
)  # fmt: skip
def test_markdown_shows_every_text_as_it_is(text: str) -> None:
    found = MarkdownIt("commonmark").enable(["strikethrough", "table"]).render(md([said("before"), said(text)]))
    shown = text.strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert found.endswith(f"<br />\n{shown}</p>\n")
    assert found.count("<p>") == 2


def test_two_people_of_one_name_are_two_speakers() -> None:
    speakers = json.loads(as_json([said("a b"), said("c", 8), said("d", 9, "Bob")]))["speakers"]
    assert {name: one["words"] for name, one in speakers.items()} == {"Ann (7)": 2, "Ann (8)": 1, "Bob": 1}
