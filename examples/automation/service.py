"""A service that takes snapshots: an inline program of the Automation API, and its progress."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pulumi
from pulumi import automation

from pulumi_snapshots import Snapshot

HERE = Path(__file__).resolve().parent
REQUEST = re.compile(
    r"/databases/(?P<database_id>[0-9a-f]{32})/releases/(?P<release>[\w.-]+)"
)


class Failed(Exception):
    """There is no snapshot; the text says what the user of `pulumi up` would read."""


def take_snapshot(
    database_id: str, release: str, tell: Callable[[str], None]
) -> dict[str, object]:
    """Take the snapshot before a release, or find the one that was taken before it.

    Raises:
        Failed: It was not taken, or is not found yet; then the next call for the same release keeps
            waiting.
    """
    errors: list[str] = []

    def program() -> None:
        snapshot = Snapshot("before-release", database_id, triggers=[release])
        for name in ("version_id", "size", "created_at", "expires_at"):
            pulumi.export(name, getattr(snapshot, name))

    def listen(event: automation.EngineEvent) -> None:
        if (
            (said := event.diagnostic_event)
            and said.urn
            and said.urn.endswith("::before-release")
        ):
            text = re.sub(r"<\{%.*?%\}>", "", said.message).strip()  # without colours
            if said.severity == "error":
                errors.append(text)
            else:
                tell(text)

    # Each stack's dynamic provider runs with this Python, where the package is installed.
    options = automation.LocalWorkspaceOptions(
        work_dir=str(HERE), env_vars={"PULUMI_PYTHON_CMD": sys.executable}
    )
    try:
        stack = automation.create_or_select_stack(
            database_id, program=program, opts=options, project_name="automation"
        )
        done = stack.up(on_event=listen)
    except automation.ConcurrentUpdateError:
        raise Failed("another request for this database is under way") from None
    except automation.CommandError as error:
        raise Failed("\n".join(errors) or str(error)) from None
    return {name: output.value for name, output in done.outputs.items()}


class Handler(BaseHTTPRequestHandler):
    """`PUT /databases/ID/releases/NAME`: a line of JSON for each step.

    The last one is the snapshot or the error.
    """

    def do_PUT(self) -> None:
        """Answer at once, then send lines until the snapshot is there."""
        asked = REQUEST.fullmatch(self.path)
        if not asked:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        try:
            self.say(
                snapshot=take_snapshot(
                    **asked.groupdict(), tell=lambda text: self.say(progress=text)
                )
            )
        except Failed as reason:
            self.say(error=str(reason))

    def say(self, **line: object) -> None:
        """Send a line. If the client has left, the snapshot is still taken."""
        with suppress(OSError):
            self.wfile.write(json.dumps(line).encode() + b"\n")


class Server(ThreadingHTTPServer):
    """A thread for each request."""

    daemon_threads = False  # what is under way ends before the process does


def main() -> None:
    """Serve on this machine until ^C or SIGTERM; snapshots under way are then kept as pending."""
    # As a terminal does at ^C: the pulumi processes get the signal too, and save their state.
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGINT))
    with Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
