"""A process with `rtms` imported that forks for each command: a test of a command does not wait for imports.

What runs is what `python -m rtms_cli` runs, in a process of its own, with standard streams, folder and environment of
its own. Only what an interpreter decides while it starts is the zygote's; `processes.rtms` starts a real one for that.
"""

import json
import os
import runpy
import socket
import sys
import traceback
from pathlib import Path


def serve(requests: socket.socket) -> None:
    """Take requests, a JSON line each, until the other side closes: arguments, folder, environment, three files."""
    with requests.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            child = os.fork()
            if child == 0:
                requests.close()
                os._exit(_run(request))
            _, status = os.waitpid(child, 0)
            lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
            lines.flush()


def _run(request: dict[str, object]) -> int:
    """Be `python -m rtms_cli` with these arguments.

    :returns: the exit code.
    """
    arguments, streams, settings = request["arguments"], request["streams"], request["environment"]
    assert isinstance(arguments, list)
    assert isinstance(streams, list)
    assert isinstance(settings, dict)
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(settings)
    sys.argv = ["rtms", *arguments]
    code = 0
    try:
        runpy.run_module("rtms_cli", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # what an interpreter does with it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import rtms_cli.commands.app  # noqa: F401  # what every command needs

    serve(socket.socket(fileno=int(sys.argv[1])))
