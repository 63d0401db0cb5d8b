"""docs/cli.md names every command, and the commands that it shows run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from io import StringIO
from pathlib import Path

import click
import pytest

from pulumi_snapshots.cli.commands import GROUPS, commands
from pulumi_snapshots.ledger.ledger import Drilled, note_last_drill
from tests.cli.typed import Desk, Terminal, at_desk
from tests.emulator.served import KEY, served
from tests.support.drilling import CONNECTION, FakeDatabases
from tests.support.preloaded import commands_of
from tests.support.virtual import staged
from tests.support.world import World, world

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "cli.md").read_text()
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"


def shown(text: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_a_reader_finds_every_command_with_its_arguments() -> None:
    table = PAGE.partition("| command | does |")[2].partition("\n\n")[0]
    listed = [command for group in GROUPS.values() for command in group]
    assert list(dict.fromkeys(re.findall(r"^\| `([\w-]+)", table, re.MULTILINE))) == [each.name for each in listed]
    for command in listed:
        arguments = [one for one in command.params if isinstance(one, click.Argument) or one.required]
        row = next(line for line in table.splitlines() if line.startswith(f"| `{command.name}"))
        for one in arguments:
            word = one.make_metavar(click.Context(command)) if isinstance(one, click.Argument) else one.opts[0]
            assert word.strip("[]{}").upper() in row.upper() or "|" in word, (command.name, word)


@at_desk()
async def test_the_earlier_name_of_probe_still_works(desk: Desk) -> None:
    under_both = [await desk.types(name, DATABASE, typed=Terminal("no\n")) for name in ("probe", "verify")]
    assert [each.code for each in under_both] == [2, 2]
    assert under_both[0].err.replace("snapshots probe", "snapshots verify") == under_both[1].err
    assert commands.commands["verify"].hidden


def test_the_commands_that_the_page_shows_run(tmp_path: Path, forks: dict[str, str]) -> None:
    """All but the installation, which needs a published package, and the completion, which needs a shell's own folders."""
    blocks = [block for block in shown(PAGE) if re.search(" (create|list|status|doctor)\\b", block)]
    assert len(blocks) == 5
    script = "".join(blocks)
    plenty = ("--requests-per-minute", "1000", "--cache-world", "invalidated", "--snapshot-seconds", "0.1")
    with served("--no-automatic", "--database", DATABASE, *plenty, forks=forks) as emulator:
        environment = {
            **forks,
            "PATH": f"{commands_of(forks)}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "SQUARECLOUD_API_KEY": KEY,
            "SQUARECLOUD_API_URL": emulator.api,
            "SQUARECLOUD_SNAPSHOTS_URL": f"{emulator.url}/files",
            "SQUARECLOUD_POLL_EVERY": "0.2s",
        }
        # A doctor right after a list would wait for the account's listing, which is polled every 20 s at most.
        script = script.replace("squarecloud-snapshots doctor", "XDG_STATE_HOME=$PWD squarecloud-snapshots doctor")
        ended = subprocess.run(  # noqa: S603  what the page says
            ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    (archived,) = (tmp_path / "backups" / DATABASE).glob("*.zip")
    assert archived.read_bytes() == (tmp_path / "snapshot.zip").read_bytes()
    assert len(re.findall("^SNAPSHOT", ended.stdout, re.MULTILINE)) == 3
    assert len(re.findall(f"^ok +{DATABASE}", ended.stdout, re.MULTILINE)) == 2


@pytest.mark.parametrize("code", ["0", "1", "2", "130", "143", "129"])
def test_help_and_page_name_the_same_exit_codes(code: str) -> None:
    assert f"`{code}`" in PAGE.partition("| exit code | means |")[2].partition("\n\n")[0]
    assert re.search(rf"\b{code}\b", commands.help or "")


HOWTO = PROJECT / "docs" / "howto"
SCRATCH = "b25c9e6f2dc8516b962fc5d186617232"
COMMAND = re.compile(r"^(?:[-\s]*(?:run: )?|\$ )squarecloud-snapshots ((?:'[^'\n]*'|[^'>\n])*)", re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "posts"),
    [("github-actions", 1), ("gitlab-ci", 1), ("cron", 0), ("prove-a-backup", 1), ("get-my-data-back", 1)],
)
@staged(world, databases=(DATABASE, SCRATCH))
async def test_the_commands_of_a_how_to_do_what_it_says(w: World, tmp_path: Path, page: str, posts: int) -> None:
    """Each page finds a snapshot of the night before, and an archive of it."""
    desk = Desk(w, tmp_path / "state", {"SCRATCH_URL": CONNECTION})
    w.emulator.execute(
        DATABASE,
        "CREATE TABLE orders (id)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO orders SELECT i FROM n",
    )
    snapshot = (await desk.types("create", DATABASE, "--json")).done.json["id"]
    await desk.types("archive", snapshot, f"{tmp_path}/backups/")
    w.emulator.execute(SCRATCH, "CREATE TABLE old (n)")
    await w.clock.sleep(3600)
    w.emulator.journal.clear()
    variables = {"DATABASE_ID": DATABASE, "database": DATABASE, "snapshot": snapshot, "SCRATCH_ID": SCRATCH}
    for line in COMMAND.findall((HOWTO / f"{page}.md").read_text().replace("\\\n", "")):
        if "--stack" in line:
            continue  # test_engine_workflow.py plays it with an engine
        words = [variables[word[1:]] if word.startswith("$") else word for word in shlex.split(line)]
        with FakeDatabases(w.emulator).instead():
            ended = await desk.types(*(f"{tmp_path}/{word}" if word.endswith("/") else word for word in words))
        assert ended.code == 0, ended.err
    sent = Counter(entry.kind for entry in w.emulator.journal)
    assert sent["create"] == posts
    assert sent["restore"] == (page in {"prove-a-backup", "get-my-data-back"})
    if page == "cron":
        assert list((tmp_path / "archives").rglob("*.zip"))


def kept_in(folder: Path) -> dict[str, str]:
    """The files of a state directory, by their names without what is made of key and address."""
    return {path.name.partition(".")[2]: path.read_text(errors="replace") for path in folder.iterdir()}


@at_desk()
async def test_every_file_that_stays_on_the_machine_is_explained(desk: Desk, w: World, tmp_path: Path) -> None:
    table = (PROJECT / "docs" / "platforms.md").read_text().partition("| file |")[2].partition("\n\n")[0]
    snapshot = (await desk.types("create", DATABASE, "--json")).done.json["id"]
    for command in (("list",), ("restore", snapshot, "--yes")):
        ended = await desk.types(*command)
        assert ended.code == 0, ended.err
    async with desk.invocation(StringIO(), StringIO()).session() as session:
        await note_last_drill(session.ledger, DATABASE, Drilled("2026-03-01T12:00:00Z"))
    left = kept_in(tmp_path / "state")
    assert not [text for text in left.values() if "Signature" in text or w.emulator.settings.api_key in text]
    assert left.keys() == set(re.findall(r"^\| `[A-Z]+\.([\w.-]+)`", table, re.MULTILINE))
