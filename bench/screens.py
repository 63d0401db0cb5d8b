"""`make screens`: what a terminal shows of `pulumi up`, at several widths, put into docs/habits.md.

A real engine draws on a pseudo-terminal, against the service's emulator. Each block of text under a comment such as
`<!-- screen: dynamic 80 waiting -->` is replaced by that screen.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tools.demo import DATABASE, PACE, SNAPSHOT_SECONDS, SPEED
from tools.engine import ensure
from tools.sandbox import Emulator, Failed, Stack

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT_FILE = """\
name: shop
runtime: python
plugins:
  providers:
    - name: squarecloud
      path: {scripts}
"""
PAGE = Path(__file__).resolve().parent.parent / "docs" / "habits.md"
BLOCK = re.compile(r"(<!-- screen: (\S+) (\d+) (\S+) -->\n\n```text\n)(.*?)(```)", re.DOTALL)
LINES = 24
QUIET = 0.15
"""Seconds without a byte after which the engine has drawn a whole frame."""
PATIENCE = 60.0
"""Seconds without a byte after which something is wrong."""
SETTLED = 0.8
"""Seconds after the service's answer at which the rows are shown."""
TOKEN = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")
"""A question to the terminal, which gets no answer; a control sequence; a line's start, the next line, text."""

PROGRAM = """\
import pulumi
from {package} import Snapshot

config = pulumi.Config()
Snapshot("before-release", config.require("databaseId"), timeout=config.get("timeout"))
"""
WAYS = {"dynamic": "pulumi_snapshots", "plugin": "pulumi_snapshots.plugin"}
UP = ("up", "--yes", "--skip-preview")


@dataclass
class Screen:
    """What a terminal shows: the few control sequences that the engine uses, and an error for any other."""

    columns: int
    lines: list[str] = field(default_factory=lambda: [""])
    line: int = 0
    column: int = 0
    _rest: str = ""

    def feed(self, text: str) -> None:
        """Draw."""
        text, self._rest = self._rest + text, ""
        at = 0
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None:  # a sequence that is not whole yet
                self._rest = text[at:]
                return
            at = found.end()
            self._draw(*found.groups())

    def _draw(self, count: str | None, what: str | None, home: str | None, down: str | None, text: str | None) -> None:
        if home:
            self.column = 0
        elif down:
            self.line += 1
            self.lines += [""] * (self.line + 1 - len(self.lines))
        elif text:
            line = self.lines[self.line].ljust(self.column)
            self.lines[self.line] = line[: self.column] + text + line[self.column + len(text) :]
            self.column += len(text)
        elif what == "A":
            self.line = max(0, self.line - int(count or 1))
        elif what == "K":
            self.lines[self.line] = self.lines[self.line][: self.column]
        elif what == "J":
            del self.lines[self.line + 1 :]
            self.lines[self.line] = self.lines[self.line][: self.column]
        elif what not in {"m", "h", "l", "n", None}:  # colour, the cursor's visibility, questions
            raise Failed(f"a control sequence that is not known: {count}{what}")

    def text(self) -> str:
        """All of it, as a person would copy it."""
        return "\n".join(line.rstrip() for line in self.lines).strip("\n") + "\n"


def shown(stack: Stack, columns: int, waits: Callable[[], bool], *arguments: str) -> dict[str, str]:
    """What a command shows a moment after `waits`, as `waiting`, and at its end, as `end`.

    Raises:
        Failed: it printed nothing for a minute.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))

    def has_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [str(stack.pulumi), *arguments],
        cwd=stack.project,
        env={**stack.environment, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=has_terminal,  # noqa: PLW1509 - no threads here
    )
    os.close(slave)
    screen, screens, settled = Screen(columns), dict[str, str](), 0.0
    try:
        while chunk := _read(master, PATIENCE):
            screen.feed(chunk)
            while chunk := _read(master, QUIET):
                screen.feed(chunk)
            settled = settled or (waits() and time.monotonic() + SETTLED)
            if settled and time.monotonic() > settled:
                screens.setdefault("waiting", screen.text())
    finally:
        os.close(master)
        if process.poll() is None:
            process.terminate()
        process.wait()
    return {**screens, "end": screen.text()}


def _read(master: int, seconds: float) -> str:
    """What there is to draw; empty once the command has ended, or after so many seconds without anything."""
    if not select.select([master], [], [], seconds)[0]:
        return ""
    try:
        return os.read(master, 1 << 16).decode(errors="replace")
    except OSError:  # the other side is closed
        return ""


def stories(way: str, columns: int, moments: set[str], engine: Path, folder: Path) -> dict[str, str]:
    """The screens of one way and width, by name: a snapshot, its replacement, one that is interrupted and found later."""
    (project := folder / "project").mkdir(parents=True)
    (project / "Pulumi.yaml").write_text(PROJECT_FILE.format(scripts=Path(sys.executable).parent))
    (project / "__main__.py").write_text(PROGRAM.format(package=WAYS[way]))
    speed = ("--speed", str(SPEED), "--snapshot-seconds", str(SNAPSHOT_SECONDS))
    first, second, slow = (DATABASE, "b25c9e6f2dc8516b962fc5d186617232", "c36dae7f3ed9627c073fd6e297728343")
    databases = (part for each in (first, second, slow) for part in ("--database", each))
    with Emulator(*speed, *databases, log=folder / "log") as emulator:
        stack = Stack(folder, project, engine, {**emulator.environment, **PACE}, name="dev")
        stack.run("stack", "init", "dev")

        def accepted() -> bool:
            return any(entry["kind"] == "create" and entry["status"] == 202 for entry in emulator.journal())  # noqa: PLR2004

        def drawn(database_id: str, *command: str) -> dict[str, str]:
            emulator.control("journal", method="DELETE")
            stack.run("config", "set", "databaseId", database_id)
            return shown(stack, columns, accepted, *command)

        screens = {"waiting": drawn(first, *UP)["waiting"]}
        if "replacing" in moments:  # another release would wait out the cooldown of 180 s
            screens["replacing"] = drawn(second, *UP)["waiting"]
        if "found" in moments:
            emulator.control(f"databases/{slow}", {"next_snapshot_seconds": 900}, "PATCH")
            stack.run("config", "set", "timeout", "8s")
            screens["stopped"] = drawn(slow, *UP)["end"]
            screens["preview"] = drawn(slow, "preview")["end"]
            emulator.control("clock", {"advance": 900})
            screens["found"] = drawn(slow, *UP)["end"]
    return screens


def _replaced(way: str, columns: int, screens: dict[str, str], block: re.Match[str]) -> str:
    """A block of the page, with its screen if that is among these."""
    if (block[2], block[3]) != (way, str(columns)):
        return block[0]
    return f"{block[1]}{screens[block[4]]}{block[6]}"


def main() -> int:
    """Draw what the page shows; 0 if everything was as it should be."""
    engine, wanted = ensure(os.environ), defaultdict[tuple[str, int], set[str]](set)
    for _, way, columns, moment, *_ in BLOCK.findall(PAGE.read_text()):
        wanted[way, int(columns)].add(moment)
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-screens-") as folder:
        for (way, columns), moments in sorted(wanted.items()):
            screens = stories(way, columns, moments, engine, Path(folder) / f"{way}-{columns}")
            PAGE.write_text(BLOCK.sub(partial(_replaced, way, columns, screens), PAGE.read_text()))
            print(f"{way}, {columns} columns: {', '.join(screens)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
