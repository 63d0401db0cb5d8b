"""The emulator as a process, as a user starts it, with real sockets and real time.

With the fixture `forks`, the process is a fork of a Python that has loaded its libraries; signals do not reach it then.
"""

import io
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import MappingProxyType
from unittest import mock

from squarecloud_emulator.__main__ import main
from tests.support.preloaded import python_of
from tools.sandbox import Service

STARTED: Mapping[str, str] = MappingProxyType({})
"""A process that is no fork."""
KEY = "process-test-" + "k" * 51
_LINE = re.compile(
    r"squarecloud-emulator listening on (?P<url>http://\S+:\d+) \(API (?P=url)/v2, snapshots (?P=url)/files\)\n"
)


class Served(Service):
    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        super().__init__(url, f"{url}/v2", f"{url}/files", KEY)
        self.process = process


def refused(*options: str) -> tuple[object, str]:
    """The exit code and the error of a command, in this process, with options with which it does not start."""
    printed = io.StringIO()
    errors = io.StringIO()
    with (
        redirect_stdout(printed),
        redirect_stderr(errors),
        mock.patch("squarecloud_emulator.__main__._show_warnings"),
    ):
        try:
            code: object = main(options)
        except SystemExit as ended:
            code = ended.code
    return code, printed.getvalue() + errors.getvalue()


@contextmanager
def served(*options: str, forks: Mapping[str, str] = STARTED) -> Iterator[Served]:
    process = subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [python_of(forks), "-W", "error", "-m", "squarecloud_emulator", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **forks, "SQUARECLOUD_EMULATOR_API_KEY": KEY},
    )
    assert process.stdout is not None
    try:
        found = _LINE.fullmatch(process.stdout.readline())
        assert found is not None
        yield Served(found["url"], process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
