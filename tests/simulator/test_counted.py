"""Every party, sentence and picture that the simulator sends is in the exports; `counted` does more of it."""

from pathlib import Path

from simulator.counted import count, play

from rtms_cli.protocol.numbers import Product


async def test_everything_that_was_sent_is_exported(tmp_path: Path) -> None:
    products = [Product.MEETING, Product.CONTACT_CENTER, Product.PHONE]
    truths = await play(tmp_path, products, 6, None, "--separate")
    for truth in truths:
        (folder,) = (tmp_path / "recordings").glob(f"*_{truth.product}_*")
        assert {whose for _, whose, _ in truth.of("audio")} == (
            {0, 1} if truth.product != "meeting" else {16778240, 16779264}
        )
        assert truth.of("transcript").total() == 3
        assert not truth.doubtful
        assert count(truth, folder) == []
        (folder / "export").rename(folder / "before")
        truth.sent["transcript", next(iter(truth.names)), "Nobody said so."] += 1
        truth.sent["audio", next(iter(truth.names)), ""] -= 1
        assert [line.partition(" ")[0] for line in count(truth, folder)] == ["1", "1", "json", "srt", "vtt", "txt"]
