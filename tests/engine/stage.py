"""A user's project at a real engine and an emulated service: commands, what they print, what is stored, what was asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from pulumi_snapshots.ledger.sqlite_file import SqliteFile
from pulumi_snapshots.service.pacing import ACCOUNTS
from tests.support.preloaded import commands_of, real, unforked
from tests.support.unreliable import Forwarder, served
from tools.sandbox import Service, Stack

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER_DATABASE = "b25c9e6f2dc8516b962fc5d186617232"
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
PATIENCE = 180.0
"""Seconds that anything may take on a machine that is busy with other things."""

PLUGGED = """name: app
runtime: python
plugins:
  providers:
    - name: squarecloud
      path: {folder}
"""

HEADER = "import pulumi\nfrom pulumi_snapshots import Snapshot\n"

SERVERS = '''
import pathlib
import sys

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


def done(what, props):
    with pathlib.Path("done").open("a") as file:
        file.write(f"{what} {props['name']}\\n")


class Provider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        done("create", props)
        return CreateResult(props["name"], props)

    def diff(self, _id, olds, news):
        changed = [name for name in ("value", "size") if olds.get(name) != news.get(name)]
        return DiffResult(changes=bool(changed), replaces=["size"] if "size" in changed else [])

    def update(self, _id, _olds, news):
        if news["value"] == "broken":
            sys.tracebacklimit = 0  # what it says is enough
            raise RuntimeError("broken half-way") from None
        done("update", news)
        return UpdateResult(news)

    def delete(self, _id, props):
        done("delete", props)


class Server(Resource, module="servers", name="Server"):
    """Something that changes: its value in place, its size by a replacement. It notes what is really done."""

    value: object

    def __init__(self, name, value="a", size=1, **options):
        properties = {"name": name, "value": value, "size": size}
        super().__init__(Provider(), name, properties, pulumi.ResourceOptions(**options))


class Shop(pulumi.ComponentResource):
    """A component with one server."""

    def __init__(self, name, value, **options):
        super().__init__("shop:index:Shop", name, {"value": value}, pulumi.ResourceOptions(**options))
        Server(f"{name}-part", value, parent=self)
'''
"""What programs have beside snapshots."""

# A service for the keys of stacks' secrets, in the test's own process, with Vault's API. By default a key is derived from a
# passphrase, slowly on purpose: each command would spend a quarter of a second on that. This one keeps nothing secret.
PROVIDER = "--secrets-provider=hashivault://tests"
"""The option of `stack init`."""
SEALED = "vault:v1:"


class _Vault(Forwarder):
    def handle_any(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/transit/encrypt/tests":
            found = {"ciphertext": SEALED + asked["plaintext"]}
        else:
            found = {"plaintext": asked["ciphertext"].removeprefix(SEALED)}
        self.answer(
            200,
            {"Content-Type": "application/json"},
            json.dumps({"data": found}).encode(),
        )


@contextmanager
def secret_keys() -> Iterator[dict[str, str]]:
    """Serve until the end; what leads an engine there."""
    with served(_Vault) as address:
        yield {"VAULT_SERVER_URL": address}


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """What the condition returns, as soon as that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return value


def diagnostics(printed: str) -> str:
    """What stands under Diagnostics in a command's output: the lasting messages, each once."""
    return (
        printed.partition("Diagnostics:")[2]
        .partition("Resources:")[0]
        .partition("Outputs:")[0]
    )


def joined(text: str) -> str:
    """The lines of errors as paragraphs, without what indents them and marks their next steps."""
    return re.sub(r"\n\s+(?:hint: )?", " ", text)


def kept_because(app: App, kept: dict[str, Any], printed: str) -> str:
    """Why the state keeps a resource as unfinished, which the run has printed; what depends on it was not made."""
    (reason,) = kept["initErrors"]
    assert joined(reason) in joined(diagnostics(printed))
    assert not any(one["urn"].endswith("::dependant") for one in app.resources())
    return joined(reason)


@dataclass
class Command:
    """A `pulumi` that is running in a session of its own."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    def shows(self, text: str) -> None:
        wait_for(
            lambda: text in self.text or self.process.poll() is not None,
            f"{text!r} in the output, which is:\n{self.text}",
        )
        assert text in self.text, f"it ended without {text!r}:\n{self.text}"

    def interrupt(self) -> None:
        """What a terminal does at ^C: the provider is in a process group of its own, so it is not told."""
        os.killpg(self.process.pid, signal.SIGINT)

    def interrupt_program(self) -> None:
        """What the language host of Pulumi 3.229 does if the engine is interrupted; the one that is built for the tests is older."""
        (program,) = self.processes("pulumi-language-python-exec")
        os.kill(program, signal.SIGINT)

    def processes(self, called: str = "") -> list[int]:
        """What still runs in its session with this in its command line."""
        asked = ["ps", "-ww", "-o", "pid=,stat=,args=", "--sid", str(self.process.pid)]
        lines = subprocess.run(  # noqa: S603
            asked, capture_output=True, text=True, check=False
        ).stdout.splitlines()
        found = [line.split(maxsplit=2) for line in lines]
        return [
            int(pid)
            for pid, state, *words in found
            if state[0] != "Z" and called in " ".join(words)
        ]

    def end_family(self) -> None:
        """End whatever a killed engine has left behind: providers, the language host, the program."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


class App:
    """A project with one selected stack, whose environment leads to the emulator."""

    def __init__(self, folder: Path, stack: Stack, emulator: Service) -> None:
        self.folder = folder
        self.project = "app"
        self.stack = stack
        self.emulator = emulator
        self.commands: list[Command] = []
        (stack.project / "servers.py").write_text(SERVERS)

    @property
    def environment(self) -> dict[str, str]:
        return self.stack.environment

    def program(self, text: str) -> None:
        """Write the user's program; imports of pulumi and Snapshot come before it."""
        for compiled in self.stack.project.glob("__pycache__/__main__.*"):
            compiled.unlink()  # Python takes a program of the same second and length for the same one
        (self.stack.project / "__main__.py").write_text(HEADER + text)

    def example(self, name: str, *stacks: str) -> None:
        """Have an example's folder as the project, with these new stacks; the last one is selected."""
        # by whoever tries the example where it stands
        made = shutil.ignore_patterns("node_modules", "bin")
        shutil.copytree(
            EXAMPLES / name, self.stack.project, dirs_exist_ok=True, ignore=made
        )
        self.project = name
        for stack in stacks:
            self.select(stack)
            self.run("stack", "init", stack, PROVIDER)

    def plug(self) -> None:
        """Have the engine find the plugin in the folder that the project names."""
        folder = commands_of(self.environment)
        (self.stack.project / "Pulumi.yaml").write_text(PLUGGED.format(folder=folder))

    def ours(self, line: str) -> str:
        """What a command of our own prints."""
        name, *arguments = line.split()
        command = [str(Path(commands_of(self.environment), name)), *arguments]
        return subprocess.run(  # noqa: S603
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def install_plugin(self) -> None:
        """Install the plugin among the engine's own, to start as a fork."""
        self.ours("squarecloud-snapshots plugin install")
        (installed,) = (self.folder / "home" / "plugins").glob(
            "*/pulumi-resource-squarecloud"
        )
        shutil.copy(Path(commands_of(self.environment), installed.name), installed)

    def be_real(self) -> None:
        """From now on the engine finds Python and the plugin by PATH, as on a user's machine."""
        self.stack.environment = real(self.environment)

    def select(self, stack: str) -> None:
        self.stack.name = self.environment["PULUMI_STACK"] = stack

    # Commands

    def run(self, *arguments: str, fails: bool | int = False) -> str:
        """Run `pulumi`; everything that it prints. It must fail where it is said to, and only there.

        With a number, its exit code must be that.
        """
        begun = time.monotonic()
        result = self.stack.run(*arguments, check=False, timeout=PATIENCE)
        printed = result.stdout + result.stderr
        # pytest shows it where a test fails, or with -rP
        sys.stdout.write(
            f"$ pulumi {' '.join(arguments)}  ({time.monotonic() - begun:.1f} s)\n{printed}\n"
        )
        self._is_decent(printed)
        is_as_said = result.returncode == fails
        if isinstance(fails, bool):
            is_as_said = (result.returncode != 0) is fails
        assert is_as_said, (
            f"pulumi {' '.join(arguments)} ended with {result.returncode}:\n{printed}"
        )
        return printed

    def up(self, *arguments: str, fails: bool | int = False) -> str:
        """`pulumi up` without the preview before it, which would only cost time."""
        return self.run("up", "--yes", "--skip-preview", *arguments, fails=fails)

    def preview(self, *arguments: str, fails: bool = False) -> str:
        return self.run("preview", *arguments, fails=fails)

    def refresh(self, *arguments: str, fails: bool = False) -> str:
        return self.run("refresh", "--yes", "--skip-preview", *arguments, fails=fails)

    def import_(
        self,
        name: str,
        id_: str,
        *options: str,
        kind: str = "Snapshot",
        fails: bool = False,
    ) -> str:
        """`pulumi import` of a resource of the plugin, without the code that it would print."""
        what = (f"squarecloud:index:{kind}", name, id_)
        return self.run(
            "import",
            *what,
            *options,
            "--yes",
            "--generate-code=false",
            "--protect=false",
            fails=fails,
        )

    def destroy(self) -> str:
        return self.run("destroy", "--yes", "--skip-preview")

    def start(self, *arguments: str, real: bool = False) -> Command:
        """Start `pulumi` and go on; its Python processes are real ones if it is about signals."""
        output = self.folder / f"output-{len(self.commands)}"
        environment = unforked(self.environment) if real else self.environment
        command = Command(
            self.stack.start(*arguments, output=output, environment=environment), output
        )
        self.commands.append(command)
        return command

    def start_up(self, *arguments: str, real: bool = False) -> Command:
        return self.start("up", "--yes", "--skip-preview", *arguments, real=real)

    def ends(self, command: Command, *, fails: bool = False) -> str:
        """Wait for a started command's end; everything that it has printed."""
        wait_for(
            lambda: command.process.poll() is not None,
            f"the command's end; it has printed:\n{command.text}",
        )
        printed = command.text
        sys.stdout.write(f"$ {' '.join(map(str, command.process.args))}\n{printed}\n")  # type: ignore[arg-type]
        self._is_decent(printed)
        assert (command.process.returncode != 0) is fails, printed
        return printed

    def _is_decent(self, printed: str) -> None:
        """Whatever happens, a user sees no traceback and no secret."""
        assert "Traceback" not in printed, printed
        assert self.emulator.key not in printed
        assert "Signature=" not in printed, printed

    # What is stored

    @property
    def state_file(self) -> Path:
        return (
            self.folder
            / "backend"
            / ".pulumi"
            / "stacks"
            / self.project
            / f"{self.stack.name}.json"
        )

    def resources(self) -> list[dict[str, Any]]:
        return list(
            json.loads(self.state_file.read_text())["checkpoint"]["latest"].get(
                "resources", []
            )
        )

    def snapshots(self) -> list[dict[str, Any]]:
        """The snapshots in the state, those that wait for their deletion included."""
        return [
            one
            for one in self.resources()
            if one["type"] == "pulumi-python:dynamic/squarecloud:Snapshot"
        ]

    def snapshot(self, name: str = "before-release") -> dict[str, Any]:
        """The one snapshot of this name in the state; its outputs are under `outputs`."""
        (found,) = [one for one in self.snapshots() if one["urn"].endswith(f"::{name}")]
        return found

    def outputs(self, name: str = "before-release") -> dict[str, Any]:
        return dict(self.snapshot(name)["outputs"])

    def url(self) -> str:
        return str(self.stack.outputs(show_secrets=True)["download_url"])

    def done(self) -> list[str]:
        """What was really done to servers since the last question."""
        file = self.stack.project / "done"
        lines = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return lines

    # What was asked

    def requests(self) -> list[dict[str, Any]]:
        return self.emulator.journal()

    def restores(self) -> list[str]:
        return [
            entry["version_id"]
            for entry in self.requests()
            if entry["kind"] == "restore" and entry["accepted"]
        ]

    def posts(self) -> list[dict[str, Any]]:
        return [entry for entry in self.requests() if entry["kind"] == "create"]

    def started(self) -> list[str]:
        return [entry["version_id"] for entry in self.posts() if entry["accepted"]]

    def forget_requests(self) -> None:
        self.emulator.control("journal", method="DELETE")

    # What the service does

    def slow(self, database_id: str = DATABASE, seconds: float = 600.0) -> None:
        """The next snapshot is answered with 202 and is ready only after `pass_time`."""
        self.emulator.control(
            f"databases/{database_id}", {"next_snapshot_seconds": seconds}, "PATCH"
        )

    def pass_time(self, seconds: float) -> None:
        """So much later at the service; by this machine's own clock no time has passed.

        So what it has sent is forgotten, and first: a running command could read it again, and wait for a cooldown in real time.
        """
        self.forget(ACCOUNTS)
        self.emulator.control("clock", {"advance": seconds})

    def forget(self, *what: str) -> None:
        """This machine no longer knows what it has sent; without a name, nor what a run that was killed was waiting for."""

        def change(document: dict[str, Any]) -> None:
            for name in what or list(document):
                document.pop(name, None)

        for ledger in (self.folder / "state").rglob("*.ledger"):
            anyio.run(SqliteFile(ledger).edit, change)

    def stored(self, database_id: str = DATABASE, **kind: Any) -> str:
        """The version of a snapshot that no run of ours took."""
        return str(
            self.emulator.control("snapshots", {"database_id": database_id, **kind})[
                "version_id"
            ]
        )

    def fault(self, kind: str, times: int | None = None, **effect: Any) -> None:
        self.emulator.control("faults", {"kind": kind, "times": times, **effect})

    def mend(self) -> None:
        """No more faults, and no block in this machine's memory."""
        self.emulator.control("faults", method="DELETE")
        self.forget(ACCOUNTS)

    def change_key(self, key: str) -> None:
        """The account's key is another one from now on."""
        self.emulator.control("settings", {"api_key": key}, "PATCH")
