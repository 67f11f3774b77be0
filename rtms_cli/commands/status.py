"""`rtms status`: by Zoom's REST API."""

from rtms_cli.commands.groups import CloudOptions, option_groups
from rtms_cli.commands.options import CaFile
from rtms_cli.commands.remote import Id, OneObject, RemoteOptions, ask


@option_groups
def status(
    given: Id,
    *,
    remote: RemoteOptions,
    cloud: CloudOptions,
    ca_file: CaFile = None,
    as_json: OneObject = False,
) -> None:
    """Show the status of a phone call's stream.

    Zoom has it for Phone only.

    \b
    Example:
      rtms status 7006926284340112376 --product phone
    """
    ask(given, "status", remote, cloud, ca_file, as_json=as_json)
