"""What is written from the code is what the code says."""

import pytest

from docs.reference import ROOT, files, generated, pages
from rtms_cli.commands import listing

REMEDY = "run: python tests/docs/reference.py"


@pytest.fixture(scope="module")
def wanted() -> dict[str, str]:
    return {str(path): text for path, text in files().items()}


def test_the_reference_is_up_to_date(wanted: dict[str, str]) -> None:
    assert {str(path) for path in generated()} <= wanted.keys(), REMEDY
    for path, text in wanted.items():
        assert (ROOT / path).is_file(), REMEDY
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is stale; {REMEDY}"


def test_every_command_has_a_page() -> None:
    assert {page.words[1] for page in pages() if len(page.words) > 1} == listing.COMMANDS.keys()
    assert all(page.options for page in pages())
