"""What the simulator says of a client: a note is not a mistake."""

import pytest

from rtms_cli.simulator.zoom import Finding, Report
from rtms_cli.view.report import print_finding, print_reports

NOTE = Finding(5, "signaling", "1 without sequence", is_wrong=False)
MISTAKE = Finding(7, "media", "3 comes twice")


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ((NOTE,), "  note     0.005 signaling: 1 without sequence\nclean: the client did everything right.\n"),
        ((NOTE, MISTAKE), "  WRONG    0.007 media: 3 comes twice\n1 finding: the client broke the protocol.\n"),
    ],
)
def test_only_mistakes_break_the_protocol(
    findings: tuple[Finding, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("meeting", "s", True, True, {}, {}, 0, 0, None, findings)
    print_reports([report], as_json=False)
    assert capsys.readouterr().out.endswith(said)
    for finding in findings:
        print_finding(finding)
    assert capsys.readouterr().err.splitlines()[0] == "note: signaling: 1 without sequence"
