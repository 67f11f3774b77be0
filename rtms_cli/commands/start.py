"""`rtms start`: by Zoom's REST API."""

from rtms_cli.commands.groups import CloudOptions, option_groups
from rtms_cli.commands.options import CaFile
from rtms_cli.commands.remote import Id, OneObject, RemoteOptions, ask


@option_groups
def start(
    given: Id,
    *,
    remote: RemoteOptions,
    cloud: CloudOptions,
    ca_file: CaFile = None,
    as_json: OneObject = False,
) -> None:
    """Start the stream of a meeting, session or call.

    The meeting has to be in progress. Zoom answers before the stream is there.

    \b
    Example:
      rtms start "855 1234 5678"
    """
    ask(given, "start", remote, cloud, ca_file, as_json=as_json)
