"""What the feed's messages hold, whatever was put into them."""

from rtms_cli.feed.messages import Event, read_server, write


def test_a_text_that_no_encoding_has_costs_no_client_its_connection() -> None:
    """A path that is not UTF-8, in the fields of a tap."""
    event = Event(1, "", "tap", text="ü", fields={"target": "file:/\udcff.wav", "since": {"\ud83d": [7, None]}})
    read = read_server(write(event))
    assert isinstance(read, Event)
    assert read.fields["target"] == "file:/\ufffd.wav"
    assert (read.seq, read.text, list(read.fields)) == (1, "ü", ["target", "since"])
