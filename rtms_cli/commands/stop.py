"""`rtms stop`: by Zoom's REST API."""

from rtms_cli.commands.groups import CloudOptions, option_groups
from rtms_cli.commands.options import CaFile
from rtms_cli.commands.remote import Id, OneObject, RemoteOptions, ask


@option_groups
def stop(
    given: Id,
    *,
    remote: RemoteOptions,
    cloud: CloudOptions,
    ca_file: CaFile = None,
    as_json: OneObject = False,
) -> None:
    """Stop a stream.

    The app keeps running: `rtms start` begins a new stream.

    \b
    Example:
      rtms stop 855 1234 5678
    """
    ask(given, "stop", remote, cloud, ca_file, as_json=as_json)
