"""What a newcomer meets: the wheel in a clean environment, the README's program, and the start page word by word."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.stage import App
from tools.environment import mirrored

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)

CHECK = """
import importlib.metadata, importlib.resources, json, sys
import pulumi_snapshots
assert "site-packages" in pulumi_snapshots.__file__, pulumi_snapshots.__file__
files = importlib.resources.files("pulumi_snapshots")
assert json.loads(files.joinpath("pulumi-plugin.json").read_text()) == {"resource": False}
assert files.joinpath("py.typed").is_file()
assert not {"httpx", "pydantic", "starlette", "obstore"} & set(sys.modules), "a program loads no HTTP stack"
import pulumi_snapshots.dynamic.run, pulumi_snapshots.run.session
import importlib.util
assert importlib.util.find_spec("starlette") is None, "an extra came without being asked for"
from pulumi_snapshots.plugin.description.schema import schema
assert all("```yaml" in each["description"] for each in schema()["resources"].values()), "the examples come with it"
print(importlib.metadata.version("pulumi-snapshots"), *pulumi_snapshots.__all__)
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_wheel_works_in_a_clean_environment(tmp_path: Path) -> None:
    build = (
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        tmp_path,
        PROJECT,
    )
    built = run(*build, cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    scripts = tmp_path / "clean" / "bin"
    assert (
        run(
            sys.executable,
            "-m",
            "venv",
            "--without-pip",
            tmp_path / "clean",
            cwd=tmp_path,
        ).returncode
        == 0
    )
    uv = (
        sys.executable,
        "-m",
        "uv",
        "--quiet",
        "pip",
        "install",
        "--python",
        scripts / "python",
        wheel,
    )
    if mirrored() or run(*uv, cwd=tmp_path).returncode:
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--python",
            scripts / "python",
            "install",
            "--quiet",
            "--no-compile",
        )
        installed = run(*pip, wheel, cwd=tmp_path)
        assert installed.returncode == 0, installed.stdout + installed.stderr
    checked = run(scripts / "python", "-c", CHECK, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "Snapshot" in checked.stdout
    explained = run(
        scripts / "squarecloud-snapshots", "explain", "key-refused", cwd=tmp_path
    )
    assert explained.stdout.startswith("# KeyRefused\n"), (
        "an error's page needs no extra"
    )
    emulator = run(scripts / "squarecloud-emulator", "--port", "0", cwd=tmp_path)
    assert emulator.returncode != 0
    assert (
        "pip install '/path/to/clone[emulator]'" in emulator.stdout + emulator.stderr
    ), "it says what to install"


SERVER = """
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Servers(ResourceProvider):
    def create(self, props):
        return CreateResult("server")


class Server(Resource, name="Server"):
    pass


Server(Servers(), "server", {})
"""
"""A resource below the lines of the README's program."""


def test_the_readmes_program_runs_as_it_stands_there(app: App) -> None:
    readme = (PROJECT / "README.md").read_text()
    program = f"{BLOCK.findall(readme)[0]}\n{SERVER}"
    app.program(program)
    (commands,) = (
        block.splitlines()
        for block in re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
        if block.startswith("pulumi config")
    )
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    # what a user types at the command's question
    answers = {"apiKey": [key], "up": ["--yes"]}
    for command in commands:
        pulumi, *arguments = shlex.split(command, comments=True)
        assert pulumi == "pulumi"
        app.run(*arguments, *answers.get(arguments[-1].rpartition(":")[2], []))
    before = len(app.started())
    assert before == 0, "the first resources of a stack have nothing to lose"
    app.program(f'{program}\nServer(Servers(), "another", {{}})\n')
    printed = app.run("up", "--yes")
    (version,) = app.started()[before:]
    assert version in printed, "the row names the snapshot that guards the change"
    assert "To go back: squarecloud-snapshots restore " in printed


def test_the_pages_archive_program_runs(app: App, tmp_path: Path) -> None:
    place = tmp_path / "backups"
    (program,) = BLOCK.findall(
        (PROJECT / "docs" / "archive.md").read_text().partition("\n## ")[0]
    )
    assert '"backups/"' in program
    app.program(program.replace('"backups/"', f'"{place}/"'))
    app.up()
    (archived,) = place.rglob("*.zip")
    assert archived.as_uri() == app.stack.outputs()["archive"]


# The start page, in a fresh folder with a fresh home

PAGE = PROJECT / "docs" / "start.md"
INSTALL = """\
mkdir shop && cd shop
python3 -m venv .venv && . .venv/bin/activate
pip install '/path/to/clone[emulator,cli]'
"""
LIMIT = 240.0
"""Seconds that the whole page may take on a busy machine."""


def test_every_command_of_the_first_hour_works(
    tmp_path: Path, engine: Path, forks: dict[str, str]
) -> None:
    install, serve, *commands = re.findall(
        r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert (
        install == INSTALL
    )  # test_package.py installs it; here this environment takes its place
    home = tmp_path / "home"
    home.mkdir()
    shop = tmp_path / "shop"
    shop.mkdir()
    environment = {**_as_a_newcomer(home, engine), **forks}
    with _served(serve, shop, environment) as port:
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
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/_emulator/journal"
        ) as answer:
            journal = json.loads(answer.read())

    posts = [entry for entry in journal if entry["kind"] == "create"]
    assert len(posts) == 2
    first, slow = [post["version_id"] for post in posts if post["accepted"]]
    assert "as it should be: pending, and kept" in printed
    assert printed.count("more: squarecloud-snapshots explain pending") == 1
    assert '"rows":[[[1]]]' in printed, "the order that the guarded command deleted"
    assert f"\n{slow}\n" in printed  # what `pulumi stack output slow` shows
    assert f"versionId={first}" in printed
    (archive,) = (shop / "archives").rglob("*.zip")
    assert first in archive.name
    assert {path.name for path in home.iterdir()} <= {".pulumi", ".local"}


def _as_a_newcomer(home: Path, engine: Path) -> dict[str, str]:
    """An environment with a home of its own, and nothing that is set for Pulumi or this provider."""
    ours = ("PULUMI_", "SQUARECLOUD_", "XDG_")
    inherited = {
        key: text for key, text in os.environ.items() if not key.startswith(ours)
    }
    folders = (
        str(Path(sys.executable).parent),
        str(engine),
        os.environ.get("PATH", os.defpath),
    )
    return {
        **inherited,
        "HOME": str(home),
        "PATH": os.pathsep.join(folders),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def _served(command: str, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The port of the service that the page starts, here a free one."""
    words = shlex.split(command.replace("\\\n", " ").replace("8900", "0"))
    with subprocess.Popen(  # noqa: S603
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            yield re.findall(r":(\d+)", service.stdout.readline())[0]
        finally:
            service.terminate()
