"""What the tests need, made at the same time: `python tools/prepare.py engine sdks` has these parts and `.venv` at hand.

A first run compiles for minutes and waits for the network in between, so one part computes while another one waits. A part
that needs the packages of `.venv` begins when that is ready, every other one at once.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

PROJECT = Path(__file__).resolve().parent.parent
FIRST_PYTHON = sys.executable
PYTHON = str(PROJECT / ".venv" / "bin" / "python")
ENVIRONMENT = ("tools/environment.py",)
STANDARD_LIBRARY = {
    "engine": ("tools/engine.py",),
    "servers": ("-m", "tools.servers"),
}
"""Parts that need no package: what to run for each."""
WITH_PACKAGES = {
    "sdks": ("-m", "tools.sdks", "--prepare"),
    "dist": ("-m", "tools.dist", "--prepare"),
    "stores": ("-m", "tests.support.object_stores"),
}
"""Parts that begin when `.venv` is ready."""


class Part:
    """A process that makes a part, in a group of its own with all that it starts."""

    def __init__(self, command: list[str], ended: "SimpleQueue[Part | None]") -> None:
        self.said: list[str] = []
        self._ended = ended
        self._process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
            command,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._follower = threading.Thread(target=self._follow)
        self._follower.start()

    def _follow(self) -> None:
        """Show what it says, and note its end."""
        assert self._process.stderr is not None  # noqa: S101 - for the type checker
        with self._process.stderr as lines:
            for line in lines:
                self.said.append(line)
                print(line, end="", file=sys.stderr, flush=True)
        self.status()
        self._ended.put(self)

    def status(self) -> int:
        """How it ended."""
        return self._process.wait()

    def stop(self) -> None:
        """End it and all that it has started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):  # it has ended meanwhile, and the follower has noticed first
                os.killpg(self._process.pid, signal.SIGTERM)
        self._follower.join()


def prepare(names: list[str], ended: SimpleQueue[Part | None] | None = None) -> int:
    """Have the parts at hand, or end the others at the first that fails and show what that one said.

    Args:
        names: of the parts.
        ended: where parts note their end; None in it stops all.

    Returns:
        The status for the process to end with.
    """
    ended = ended or SimpleQueue()
    environment = Part([FIRST_PYTHON, *ENVIRONMENT], ended)
    running = [environment]
    running += [Part([FIRST_PYTHON, *STANDARD_LIBRARY[name]], ended) for name in names if name in STANDARD_LIBRARY]
    while running:
        part = ended.get()
        if part is None or part.status():
            for other in running:
                other.stop()
            last = ["failed; what it said:\n", *part.said] if part else ["stopped; the next run resumes\n"]
            print("prepare: ", *last, sep="", end="", file=sys.stderr)
            return 1 if part else 130
        running.remove(part)
        if part is environment:
            running += [Part([PYTHON, *WITH_PACKAGES[name]], ended) for name in names if name in WITH_PACKAGES]
    return 0


def main(names: list[str]) -> int:
    """Prepare what the arguments name."""
    known = (*STANDARD_LIBRARY, *WITH_PACKAGES)
    if unknown := [name for name in names if name not in known]:
        print(f"prepare: there is no {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    ended = SimpleQueue[Part | None]()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is for a script's background job
            # No exception, which could come between the start of a part and the note of it.
            signal.signal(number, lambda *_: ended.put(None))
    return prepare(names, ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
