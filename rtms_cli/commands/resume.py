"""`rtms resume`: by Zoom's REST API."""

from rtms_cli.commands.groups import CloudOptions, option_groups
from rtms_cli.commands.options import CaFile
from rtms_cli.commands.remote import Id, OneObject, RemoteOptions, ask


@option_groups
def resume(
    given: Id,
    *,
    remote: RemoteOptions,
    cloud: CloudOptions,
    ca_file: CaFile = None,
    as_json: OneObject = False,
) -> None:
    """Resume a paused stream.

    For meetings, webinars, sessions and engagements.

    \b
    Example:
      rtms resume 855 1234 5678
    """
    ask(given, "resume", remote, cloud, ca_file, as_json=as_json)
