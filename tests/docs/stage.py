"""Stands for `rtms` in the documents' shell blocks: runs the real one, and plays the other side that it needs.

`listen` gets a simulated stream, on a free port, and is asked to end after it; `join` gets a payload whose stream is
there; `simulate`, `replay --serve` and `trigger` get an app; notifications get a receiver. Every other command is
simply run. The program `rtms` of a block only passes itself on to here, where the zygote forks: see `processes`.
"""

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from processes import _fork

STREAM = ("--seconds", "1.2")
"""How long a stream is of which the document does not say it."""
URL = r"http://[\d.]+:\d+/\w+"
CLIENT = f"""#!{sys.executable} -SE
import json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect(os.path.join(os.path.dirname(os.path.abspath(__file__)), "stage"))
body = json.dumps({{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}).encode()
socket.send_fds(there, [len(body).to_bytes(4, "big")], [0, 1, 2])
there.sendall(body)
sys.exit(int(there.makefile().readline() or 70))
"""
"""The program `rtms`."""


class Running:
    """A command that runs."""

    def __init__(self, news: socket.socket) -> None:
        self._news = news.makefile()
        self._socket = news
        self.pid = int(self._news.readline())

    def has_ended(self) -> bool:
        """Whether its exit code is there."""
        self._socket.settimeout(0)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(None)

    def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        code = int(self._news.readline())
        self._news.close()
        self._socket.close()
        return code


class Background:
    """A command that runs beside another one; what it says is kept in a file until its end."""

    def __init__(self, call: "Call", *arguments: str) -> None:
        self._call = call
        self._log = call.folder / f".said-{time.monotonic_ns()}"
        with self._log.open("w") as out:
            self.running = call.start(*arguments, streams=[call.streams[0], out.fileno(), out.fileno()])

    def said(self, pattern: str) -> str:
        """Wait until it has said something; the test's time-out limits the time."""
        while True:
            has_ended = self.running.has_ended()
            if found := re.search(pattern, self._log.read_text()):
                return found[0]
            assert not has_ended, self._log.read_text()
            time.sleep(0.01)

    def wait(self) -> int:
        """Wait for its end, and say what it said."""
        code = self.running.wait()
        os.write(self._call.streams[2], self._log.read_bytes())
        self._log.unlink()
        return code

    def end(self) -> int:
        """Ask it to end; returns its exit code."""
        os.kill(self.running.pid, signal.SIGTERM)
        return self.wait()


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Takes every notification."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Say nothing."""


def replaced(arguments: list[str], option: str, value: str) -> list[str]:
    """The arguments with another value of an option, or with the option added."""
    if option not in arguments:
        return [*arguments, option, value]
    at = arguments.index(option) + 1
    return [*arguments[:at], value, *arguments[at + 1 :]]


class Call:
    """One command of a block."""

    def __init__(self, request: dict[str, Any], streams: list[int]) -> None:
        self.arguments: list[str] = request["arguments"]
        self.folder = Path(request["folder"])
        self.environment: dict[str, str] = request["environment"]
        self.streams = streams

    def start(self, *arguments: str, streams: list[int] | None = None) -> Running:
        return Running(_fork(arguments, self.folder, self.environment, streams or self.streams))

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait()

    def perform(self) -> int:
        """Run it, with the other side that it needs; returns its exit code."""
        arguments = self.arguments
        if {"--help", "-h", "--list"} & set(arguments):
            return self.run(*arguments)
        if arguments[:1] == ["simulate"] and not {"--seconds", "--scenario"} & set(arguments):
            arguments = self.arguments = [*arguments, *STREAM]
        if "--notify" in arguments:
            return self._with_a_receiver()
        match arguments[:1]:
            case ["listen"]:
                return self._listen(arguments)
            case ["join"]:
                return self._join()
            case ["trigger"]:
                return self._with_an_app("--webhook")
            case ["simulate"] if "--cloud" in arguments:
                there = Background(self, *replaced(arguments, "--port", "0"))
                there.said(r"http://\S+")
                return there.end()
            case ["simulate" | "replay"] if "--webhook" in arguments:
                return self._with_an_app("--webhook")
            case ["simulate"]:
                return self._with_a_client()
            case ["replay"] if "--serve" in arguments:
                return self._with_a_client()
        return self.run(*arguments)

    def _with_a_receiver(self) -> int:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            at = self.arguments.index("--notify") + 1
            url = re.sub(r"^https?://[^/]+", f"http://127.0.0.1:{server.server_port}", self.arguments[at])
            arguments = replaced(self.arguments, "--notify", url)
            code = self._listen(arguments) if arguments[0] == "listen" else self.run(*arguments)
            server.shutdown()
            serving.join()
        return code

    def _listen(self, arguments: list[str]) -> int:
        heard = Background(self, *replaced(arguments, "--port", "0"), *([] if "--json" in arguments else ["--plain"]))
        code = self.run("simulate", "--webhook", heard.said(URL), *STREAM)
        return heard.end() or code

    def _join(self) -> int:
        payload = next((one for one in self.arguments[1:] if one.endswith(".json")), "payload.json")
        zoom = self._serving("simulate", *STREAM, payload=payload)
        return self.run(*self.arguments) or zoom.wait()

    def _with_an_app(self, option: str) -> int:
        app = Background(self, "listen", "--port", "0", "--plain", "--out", "the-app")
        code = self.run(*replaced(self.arguments, option, app.said(URL)))
        return app.end() or code

    def _with_a_client(self) -> int:
        options = [*self.arguments]
        payload = options[options.index("--payload-out") + 1] if "--payload-out" in options else ".payload.json"
        served = self._serving(*(replaced(options, "--port", "0") if "--port" in options else options), payload=payload)
        code = self.run("join", payload, "--plain", "--out", "the-client")
        stays = "--serve" in options and "--once" not in options
        return (served.end() if stays else served.wait()) or code

    def _serving(self, *arguments: str, payload: str) -> Background:
        """Serve a stream whose payload is in a file."""
        (self.folder / payload).unlink(missing_ok=True)
        served = Background(self, *replaced([*arguments], "--payload-out", payload))
        served.said(r"ws://\S+")
        while not (self.folder / payload).exists():
            time.sleep(0.01)
        return served


class Stage:
    """Performs what the program `rtms` in a folder is called for, until it is closed."""

    def __init__(self, folder: Path) -> None:
        (folder / "rtms").write_text(CLIENT)
        (folder / "rtms").chmod(0o755)
        self._server = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(folder):  # the path of a socket must be short
            self._server.bind("stage")
        self._server.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more calls."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                caller, _ = self._server.accept()
                threading.Thread(target=self._perform, args=[caller], daemon=True).start()

    def _perform(self, caller: socket.socket) -> None:
        with caller:
            size, streams, _, _ = socket.recv_fds(caller, 4, 3)
            request = json.loads(caller.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
            try:
                code = Call(request, list(streams)).perform()
                caller.sendall(b"%d\n" % code)
            finally:
                for number in streams:
                    os.close(number)
