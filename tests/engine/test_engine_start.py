"""The start page, followed word by word in a fresh folder with a fresh home."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

PAGE = Path(__file__).parents[2] / "docs" / "start.md"
INSTALL = """\
mkdir shop && cd shop
python3 -m venv .venv && . .venv/bin/activate
pip install '/path/to/clone[emulator,cli]'
"""
LIMIT = 240.0
"""Seconds that the whole page may take on a busy machine."""


def test_every_command_of_the_first_hour_works(tmp_path: Path, engine: Path, forks: dict[str, str]) -> None:
    install, serve, *commands = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert install == INSTALL  # test_package.py installs it; here this environment takes its place
    home, shop = tmp_path / "home", tmp_path / "shop"
    home.mkdir()
    shop.mkdir()
    inherited = {
        key: text for key, text in os.environ.items() if not key.startswith(("PULUMI_", "SQUARECLOUD_", "XDG_"))
    }
    environment = {
        **inherited,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(engine), os.environ.get("PATH", os.defpath)]),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        **forks,
        "PYTHONUNBUFFERED": "1",
    }
    command = shlex.split(serve.replace("\\\n", " ").replace("8900", "0"))
    with subprocess.Popen(command, cwd=shop, env=environment, stdout=subprocess.PIPE, text=True) as service:  # noqa: S603
        try:
            assert service.stdout is not None
            port = re.findall(r":(\d+)", service.stdout.readline())[0]
            script = "set -eu\n" + "\n".join(commands).replace("8900", port)
            result = subprocess.run(  # noqa: S603  the page's own commands
                ["bash", "-c", script],  # noqa: S607
                cwd=shop,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT,
            )
            printed = result.stdout + result.stderr
            assert result.returncode == 0, printed
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_emulator/journal") as answer:
                journal = json.loads(answer.read())
        finally:
            service.terminate()

    accepted = [entry["version_id"] for entry in journal if entry["kind"] == "create" and entry["accepted"]]
    first, slow = accepted
    assert len([entry for entry in journal if entry["kind"] == "create"]) == 2
    assert "as it should be: pending, and kept" in printed
    assert printed.count("more: squarecloud-snapshots explain pending") == 1
    assert f"\n{slow}\n" in printed  # what `pulumi stack output slow` shows
    assert f"versionId={first}" in printed
    (archive,) = (shop / "archives").rglob("*.zip")
    assert first in archive.name
    assert {path.name for path in home.iterdir()} <= {".pulumi", ".local"}
