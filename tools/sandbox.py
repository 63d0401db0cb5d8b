"""Real processes around a program: the emulator, and a Pulumi project in one folder.

The demo and the tests with the real engine are made of these.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

START_SECONDS = 60.0
"""How long the emulator may take until it listens."""
STOP_SECONDS = 15.0
"""How long a process may take to end when asked to."""
CONTROL_SECONDS = 30.0
"""How long one request to the emulator's control plane may take."""


def new_key() -> str:
    """An API key as long as the service's shortest."""
    return secrets.token_hex(32)


class Failed(Exception):
    """A process did not do what it was started for; the text holds what it printed."""


class Service:
    """The service on this machine, as a program and a test see it.

    Args:
        url: Its address, `http://127.0.0.1:PORT`.
        api: Its API, for `SQUARECLOUD_API_URL`.
        snapshots: Its snapshot host, for `SQUARECLOUD_SNAPSHOTS_URL`.
        key: The only API key that it accepts.
    """

    def __init__(self, url: str, api: str, snapshots: str, key: str) -> None:
        """Lead to a service that listens already."""
        self.url = url
        self.api = api
        self.snapshots = snapshots
        self.key = key

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program to it."""
        return {
            "SQUARECLOUD_API_KEY": self.key,
            "SQUARECLOUD_API_URL": self.api,
            "SQUARECLOUD_SNAPSHOTS_URL": self.snapshots,
        }

    def control(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Return what `/_emulator/PATH` answers: to a GET, or to a POST if there is a body."""
        request = urllib.request.Request(  # noqa: S310 - http to this machine
            f"{self.url}/_emulator/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=CONTROL_SECONDS) as response:  # noqa: S310
            return json.loads(response.read() or "null")

    def journal(self) -> list[dict[str, Any]]:
        """Every request that the service has seen, oldest first."""
        return list(self.control("journal"))

    def sql(self, database_id: str, *statements: str) -> list[list[list[Any]]]:
        """Run statements on a database's data; the rows of each."""
        return list(
            self.control(
                f"databases/{urllib.parse.quote(database_id)}/sql",
                {"statements": statements},
            )["rows"]
        )


class Emulator(Service):
    """The service in a process of its own. Use it as a context manager."""

    ANNOUNCEMENT = re.compile(r"listening on (\S+) \(API (\S+), snapshots (\S+)\)")

    def __init__(self, *arguments: str, log: Path) -> None:
        """Start it on a free port and wait until it listens.

        Args:
            arguments: Passed on, for example `--speed`, `30`.
            log: Where its output goes.
        """
        # No automatic snapshots: what a run shows must not depend on the hour of the day.
        plain = ("--port", "0", "--no-automatic")
        command = [sys.executable, "-m", "squarecloud_emulator", *plain, *arguments]
        self.log = log
        key = new_key()
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "SQUARECLOUD_EMULATOR_API_KEY": key,
                },
            )
        try:
            super().__init__(*self._addresses(), key)
        except BaseException:
            self.stop()
            raise

    def _addresses(self) -> tuple[str, str, str]:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = self.ANNOUNCEMENT.search(self.log.read_text())
            if found:
                return found[1], found[2], found[3]
            time.sleep(0.05)
        raise Failed(f"the emulator did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it."""
        end(self.process)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()


class Stack:
    """One stack of a Pulumi project, with all that the engine and the user write in `folder`.

    Attributes:
        project: The folder of the project's `Pulumi.yaml`.
        environment: What `pulumi` runs with; change it at will between commands.
    """

    def __init__(
        self,
        folder: Path,
        project: Path,
        engine: Path,
        environment: Mapping[str, str] | None = None,
        name: str = "dev",
    ) -> None:
        """Prepare the folder; `pulumi stack init` is the caller's first command.

        Args:
            folder: An existing, empty folder.
            project: The folder of the project's `Pulumi.yaml`.
            engine: The engine's directory, from `tools.engine.ensure`.
            environment: Added to the environment, for example `SQUARECLOUD_API_KEY`.
            name: The stack's name.
        """
        self.project = project
        self.pulumi = engine / "pulumi"
        self.name = name
        for part in ("home", "backend", "state"):
            (folder / part).mkdir()
        scripts = Path(
            sys.executable
        ).parent  # first on PATH, as in an activated environment
        inherited = {
            key: text
            for key, text in os.environ.items()
            if not key.startswith(("PULUMI_", "SQUARECLOUD_"))
        }
        self.environment: dict[str, str] = {
            **inherited,
            "PATH": os.pathsep.join(
                [str(scripts), str(engine), os.environ.get("PATH", os.defpath)]
            ),
            "VIRTUAL_ENV": str(scripts.parent),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": (folder / "backend").resolve().as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "XDG_STATE_HOME": str(folder / "state"),
            **(environment or {}),
        }

    def start(
        self,
        *arguments: str,
        output: Path,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, so that it can be sent signals.

        Args:
            arguments: The command, without `pulumi`.
            output: The file for its stdout and stderr.
            environment: Instead of the stack's.
        """
        with output.open("wb") as file:
            return subprocess.Popen(  # noqa: S603 - a fixed command, no shell
                [self.pulumi, *arguments, "--non-interactive"],
                cwd=self.project,
                env=environment or self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(
        self, *arguments: str, check: bool = True, timeout: float | None = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, stdout and stderr captured.

        Failed if it failed, and `check` is true.
        """
        result = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [self.pulumi, *arguments, "--non-interactive"],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and result.returncode:
            printed = result.stdout + result.stderr
            raise Failed(
                f"pulumi {' '.join(arguments)} ended with {result.returncode}:\n{printed}"
            )
        return result

    def show(self, *arguments: str) -> None:
        """Run a command on the user's terminal, exactly as they would see it.

        Raises:
            Failed: It failed; it has said why on the terminal.
        """
        sys.stdout.flush()
        process = subprocess.Popen(  # noqa: S603
            [self.pulumi, *arguments], cwd=self.project, env=self.environment
        )
        try:
            status = process.wait()
        except BaseException as error:
            # The terminal has sent ^C to pulumi too; a second one would make it drop what is under
            # way.
            end(process, ask=not isinstance(error, KeyboardInterrupt))
            raise
        if status:
            raise Failed(f"pulumi {' '.join(arguments)} ended with {status}")

    def export(self) -> dict[str, Any]:
        """The stack's state, `pulumi stack export`."""
        return dict(
            json.loads(self.run("stack", "export", "--stack", self.name).stdout)
        )

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the state."""
        return list(self.export()["deployment"].get("resources", []))

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """The stack's outputs; secrets are `[secret]` unless shown."""
        shown = ["--show-secrets"] if show_secrets else []
        return dict(
            json.loads(
                self.run(
                    "stack", "output", "--json", "--stack", self.name, *shown
                ).stdout
            )
        )


def end(process: subprocess.Popen[bytes], *, ask: bool = True) -> None:
    """End a process: asked first, unless it knows already, then killed."""
    if ask and process.poll() is None:
        process.terminate()
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(STOP_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait()
