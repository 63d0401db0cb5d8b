"""Clients that others wrote: what is missing is said and stops no test, and what was made is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tools.test_engine import script
from tools import clients
from tools.engine import Closed

if TYPE_CHECKING:
    from pathlib import Path

NPM = """
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/@squarecloud/api"
echo '{}' > "$2/node_modules/@squarecloud/api/package.json"
echo "$3" >> "$NPM_LOG"
"""
"""An npm that installs an empty package."""


def test_a_missing_tool_is_named_and_stops_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert clients.main() == 0
    told = capsys.readouterr().err
    assert "tests with the javascript client will be skipped: no node on PATH" in told
    assert "tests with the rust client will be skipped: no cargo on PATH" in told


def test_the_npm_package_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "NPM_LOG": str(tmp_path / "npm.log"),
    }
    script(tmp_path / "bin" / "npm", NPM)
    script(tmp_path / "bin" / "node", "")
    monkeypatch.setenv("PATH", environment["PATH"])
    for _ in range(2):
        assert (clients.javascript(environment) / "package.json").is_file()
    assert (tmp_path / "npm.log").read_text() == f"{clients.NPM_PACKAGE}@{clients.NPM_VERSION}\n"


def test_a_client_that_does_not_compile_is_no_missing_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    script(tmp_path / "bin" / "cargo", "echo 'error: no such crate' >&2; exit 101")
    script(tmp_path / "bin" / "cc", "")
    script(tmp_path / "bin" / "pkg-config", "")
    monkeypatch.setenv("PATH", environment["PATH"])
    with pytest.raises(Closed, match="no such crate") as failed:
        clients.rust(environment)
    assert not isinstance(failed.value, clients.Missing)
