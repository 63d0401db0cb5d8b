"""`make demo`: the quickstart program, run by a real engine against the emulator.

Everything it writes lies in one temporary folder, which is gone afterwards. It fails when anything
is not as it says.
"""

import io
import os
import signal
import sqlite3
import sys
import tempfile
import threading
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tools.engine import Closed, ensure
from tools.sandbox import Emulator, Failed, Stack

PROJECT = Path(__file__).resolve().parent.parent
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
SPEED = 30
SNAPSHOT_SECONDS = 120  # of the service's time; it answers 202 after 90
# 2m and 30s, 30 times faster
PACE = {"SQUARECLOUD_FIRST_POLL_AFTER": "3s", "SQUARECLOUD_POLL_EVERY": "1s"}

FILL = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, status TEXT)",
    "INSERT INTO orders VALUES (1, 'Ana', 'paid'), (2, 'Bruno', 'paid'), (3, 'Carla', 'open')",
)
CHANGE = (
    "UPDATE orders SET status = 'lost' WHERE id = 2",
    "DELETE FROM orders WHERE id = 3",
    "INSERT INTO orders VALUES (4, 'Davi', 'open')",
)
ROWS = "SELECT id, customer, status FROM orders ORDER BY id"

YOURSELF = """
The same with your own account, in this folder:
$ export PATH="$PWD/.venv/bin:$(make engine):$PATH"
$ pulumi login --local   # or where your state is; a bucket or PostgreSQL needs an installed Pulumi
$ pulumi stack init dev
$ pulumi config set --secret squarecloud:apiKey
$ pulumi config set databaseId YOUR_DATABASE_ID
$ pulumi up"""

Orders = dict[int, tuple[str, str]]


def main() -> int:
    """Run the demo; 0 if everything was as it should be."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        engine = ensure(os.environ)
        with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-demo-") as folder:
            play(Path(folder), engine)
    except (Closed, Failed) as reason:
        print(f"\nThe demo failed: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left behind.", file=sys.stderr)
        return 130
    print(YOURSELF)
    return 0


def play(folder: Path, engine: Path) -> None:
    """Every step, in an empty folder."""
    speed = ("--speed", str(SPEED), "--snapshot-seconds", str(SNAPSHOT_SECONDS))
    data = ("--data-folder", str(folder / "data"), "--database", f"{DATABASE}:postgres")
    with Emulator(*speed, *data, log=folder / "emulator.log") as emulator:
        heading("A database with three orders, at an emulator of the service")
        emulator.sql(DATABASE, *FILL)
        print(
            f"It listens on {emulator.url}. Its clock is {SPEED} times faster: outputs "
            f"show its time, progress ours."
        )

        heading("One snapshot of it, declared in examples/quickstart/__main__.py")
        environment = {**emulator.environment, **PACE}
        stack = Stack(folder, linked_project(folder), engine, environment, name="demo")
        for name, value in environment.items():
            print(f"$ export {name}={'…' if value == emulator.key else value}")
        command(stack, "stack", "init", stack.name)
        command(stack, "config", "set", "databaseId", DATABASE)
        print(
            f"(After 90 s of its clock, {90 / SPEED:.0f} s of ours, the service answers "
            f"202: accepted, but not ready yet.)"
        )
        with Meanwhile(emulator):
            command(stack, "up", "--yes")
        started = check_waiting(emulator)
        print(
            "While it waited, order 2 was marked lost, order 3 deleted and order 4 added."
        )

        heading("The stack's outputs")
        command(stack, "stack", "output")
        outputs = stack.outputs(show_secrets=True)
        check_outputs(stack, outputs)
        expect(
            outputs["version_id"] == started,
            "the outputs are of another snapshot than the one that was started",
        )

        heading("What is in the snapshot")
        print(
            '$ curl --output snapshot.zip "$(pulumi stack output download_url --show-secrets)"'
        )
        compare(archived(outputs), live(emulator))

        heading("Again: nothing has changed, so no request is sent")
        before = len(emulator.journal())
        command(stack, "up", "--yes")
        sent = len(emulator.journal()) - before
        print(f"Requests sent to the service: {sent}")
        expect(sent == 0, "an up without a change sent requests")
        expect(
            stack.outputs(show_secrets=True) == outputs,
            "an up without a change changed the outputs",
        )

        heading(
            "Clean up: Pulumi forgets the snapshot, the service keeps it until its 30 days are over"
        )
        command(stack, "destroy", "--yes")
        expect(
            archived(outputs)
            == {1: ("Ana", "paid"), 2: ("Bruno", "paid"), 3: ("Carla", "open")},
            "it is gone",
        )
        print("\nEverything was as it should be. The demo has removed its files.")


def linked_project(folder: Path) -> Path:
    """Copy this project's program to a folder where Pulumi may write configuration."""
    project = folder / "project"
    project.mkdir()
    for name in ("Pulumi.yaml", "examples"):
        (project / name).symlink_to(PROJECT / name)
    return project


class Meanwhile:
    """Change the orders once the service has begun the snapshot, while pulumi runs."""

    def __init__(self, emulator: Emulator) -> None:
        """Ready to watch."""
        self.emulator = emulator
        self.over = threading.Event()
        self.changed = False
        self.thread = threading.Thread(target=self.watch)

    def watch(self) -> None:
        """Wait for the snapshot's request in the emulator's journal."""
        while not self.over.wait(0.1):
            if any(
                entry["kind"] == "create" and entry["accepted"]
                for entry in self.emulator.journal()
            ):
                self.emulator.sql(DATABASE, *CHANGE)
                self.changed = True
                return

    def __enter__(self) -> None:
        """Begin to watch."""
        self.thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The orders must have changed by now."""
        self.over.set()
        self.thread.join()
        expect(self.changed or kind is not None, "the service never began a snapshot")


def check_waiting(emulator: Emulator) -> str:
    """One request was sent, which the service answered before it was done.

    The version that this request started.
    """
    posts = [entry for entry in emulator.journal() if entry["method"] == "POST"]
    polls = [entry for entry in emulator.journal() if entry["kind"].startswith("list")]
    expect(
        [post["status"] for post in posts] == [202],
        "there was not exactly one POST, answered 202",
    )
    print(
        f"One POST, answered 202; polls until the snapshot was in the listing: {len(polls)}."
    )
    return str(posts[0]["version_id"])


def check_outputs(stack: Stack, outputs: dict[str, Any]) -> None:
    """Nothing is missing, and the URL is a secret in what is shown and in what is stored."""
    for name in (
        "id",
        "version_id",
        "size",
        "created_at",
        "expires_at",
        "download_url",
    ):
        expect(bool(outputs.get(name)), f"the output {name} is missing")
    expect(
        outputs["id"] == f"{DATABASE}/{outputs['version_id']}",
        "the id is not DATABASE_ID/VERSION_ID",
    )
    expect(
        stack.outputs()["download_url"] == "[secret]", "the download URL is no secret"
    )
    expect(
        outputs["download_url"] not in str(stack.export()),
        "the state holds the download URL in plain text",
    )


def archived(outputs: dict[str, Any]) -> Orders:
    """The orders in the snapshot, downloaded through its URL, which needs no key."""
    with urllib.request.urlopen(outputs["download_url"], timeout=30) as response:  # noqa: S310 - http to this machine
        content = response.read()
    expect(
        len(content) == outputs["size"],
        f"{len(content)} bytes came, not {outputs['size']:.0f}",
    )
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        closing(sqlite3.connect(":memory:")) as database,
    ):
        database.deserialize(archive.read("database.sqlite"))
        return orders(database.execute(ROWS).fetchall())


def live(emulator: Emulator) -> Orders:
    """The orders in the database as it is now."""
    return orders(emulator.sql(DATABASE, ROWS)[0])


def orders(rows: list[Any]) -> Orders:
    """Rows by their id."""
    return {identity: (customer, status) for identity, customer, status in rows}


def compare(then: Orders, now: Orders) -> None:
    """Show both side by side; the snapshot must hold the orders as they were when it began."""
    print(f"{'order':<16}{'in the snapshot':<18}in the database now")
    for identity in sorted({*then, *now}):
        customer = (then.get(identity) or now[identity])[0]
        statuses = [(side.get(identity) or ("", "-"))[1] for side in (then, now)]
        print(f"{identity:<4}{customer:<12}{statuses[0]:<18}{statuses[1]}")
    expect(
        then == {1: ("Ana", "paid"), 2: ("Bruno", "paid"), 3: ("Carla", "open")},
        "the snapshot holds other rows",
    )
    expect(
        now == {1: ("Ana", "paid"), 2: ("Bruno", "lost"), 4: ("Davi", "open")},
        "the database holds other rows",
    )


def command(stack: Stack, *arguments: str) -> None:
    """Show a command as the user would type it, and run it."""
    print(f"$ pulumi {' '.join(arguments)}")
    stack.show(*arguments)


def heading(text: str) -> None:
    """Begin a part, in bold on a terminal."""
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\n\033[1m{text}\033[0m" if bold else f"\n{text}")


def expect(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Fail with these words unless the condition holds."""
    if not condition:
        raise Failed(otherwise)


if __name__ == "__main__":
    sys.exit(main())
