"""Files that export has written are opened again, and those that are not whole are errors."""

from pathlib import Path

import pytest
from PIL import Image

from rtms_cli.errors import Problem
from rtms_cli.export.checking import check_pages, check_picture, check_table
from rtms_cli.export.tables import open_table

COLUMNS = ("at", "text")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_that_lacks_rows(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    write, close = open_table(path, COLUMNS, ("float", "text"))
    write([(1.0, "a\nb"), (2.0, "x" * 200_000), (3.0, None)])
    close()
    check_table(path, 2, 3)
    for columns, rows in ((2, 4), (2, 2), (3, 3)):
        with pytest.raises(Problem, match=f"of {rows} rows"):
            check_table(path, columns, rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Problem):
        check_table(path, 2, 3)


def test_a_picture_that_is_cut_or_another_one(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.effect_noise((64, 48), 90).save(path)
    check_picture(path, (64, 48))
    with pytest.raises(Problem):
        check_picture(path, (48, 64))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(Problem):
        check_picture(path)


def test_a_document_that_lacks_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    pages = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    check_pages(path, 3)
    with pytest.raises(Problem, match="3 of 4 pages"):
        check_pages(path, 4)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(Problem):
        check_pages(path, 3)
