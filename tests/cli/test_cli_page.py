"""docs/cli.md names every command, and the commands that it shows run."""

import re
import shlex
from collections import Counter
from io import StringIO
from pathlib import Path

import click
import pytest

from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.cli.commands import GROUPS, commands
from pulumi_snapshots.drill.last import note_last_drill
from tests.cli.typed import Desk, at_desk
from tests.support.drilling import CONNECTION, FakeDatabases
from tests.support.virtual import staged
from tests.support.world import World, world

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "cli.md").read_text()
DATABASE = "a14b8d5e1cb7405a851eb4c075506121"


def test_a_reader_finds_every_command_with_its_arguments() -> None:
    table = PAGE.partition("| command | does |")[2].partition("\n\n")[0]
    listed = [command for group in GROUPS.values() for command in group]
    assert list(dict.fromkeys(re.findall(r"^\| `([\w-]+)", table, re.MULTILINE))) == [
        each.name for each in listed
    ]
    for command in listed:
        arguments = [
            one
            for one in command.params
            if isinstance(one, click.Argument) or one.required
        ]
        row = next(
            line for line in table.splitlines() if line.startswith(f"| `{command.name}")
        )
        for one in arguments:
            word = (
                one.make_metavar(click.Context(command))
                if isinstance(one, click.Argument)
                else one.opts[0]
            )
            assert word.strip("[]{}").upper() in row.upper() or "|" in word, (
                command.name,
                word,
            )


@pytest.mark.parametrize("code", ["0", "1", "2", "125", "130", "143", "129"])
def test_help_and_page_name_the_same_exit_codes(code: str) -> None:
    assert (
        f"`{code}`" in PAGE.partition("| exit code | means |")[2].partition("\n\n")[0]
    )
    assert re.search(rf"\b{code}\b", commands.help or "")


SCRATCH = "b25c9e6f2dc8516b962fc5d186617232"
COMMAND = re.compile(
    r"^(?:[-\s]*(?:run: )?|\$ )squarecloud-snapshots ((?:'[^'\n]*'|[^'>\n#])*)",
    re.MULTILINE,
)
PAGES = {
    "cli": 1,
    "github-actions": 1,
    "gitlab-ci": 1,
    "cron": 0,
    "prove-a-backup": 1,
    "show-an-auditor": 0,
    "get-my-data-back": 1,
}
"""Pages with commands, and how many snapshots those take."""


@pytest.mark.parametrize("page", PAGES)
@staged(world, databases=(DATABASE, SCRATCH))
async def test_the_commands_of_a_page_do_what_it_says(
    w: World, tmp_path: Path, page: str
) -> None:
    """Each page finds a snapshot of the night before, and an archive of it."""
    stand_in = tmp_path / "bin" / "alembic"
    stand_in.parent.mkdir()
    stand_in.touch(0o755)
    desk = Desk(
        w, tmp_path / "state", {"SCRATCH_URL": CONNECTION, "PATH": str(stand_in.parent)}
    )
    w.emulator.execute(
        DATABASE,
        "CREATE TABLE orders (id)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO orders SELECT i FROM n",
    )
    snapshot = (await desk.types("create", DATABASE, "--json")).done.json["id"]
    await desk.types("archive", snapshot, f"{tmp_path}/backups/")
    w.emulator.execute(SCRATCH, "CREATE TABLE old (n)")
    w.emulator.add_snapshot(SCRATCH)
    await w.clock.sleep(3600)
    w.emulator.journal.clear()
    variables = {
        "DATABASE_ID": DATABASE,
        "database": DATABASE,
        "snapshot": snapshot,
        "SCRATCH_ID": SCRATCH,
    }
    text = (
        PAGE
        if page == "cli"
        else (PROJECT / "docs" / "howto" / f"{page}.md").read_text()
    )
    for line in COMMAND.findall(text.replace("\\\n", "")):
        if "--stack" in line:
            continue  # test_engine_workflow.py plays it with an engine
        words = [
            variables[word[1:]] if word.startswith("$") else word
            for word in shlex.split(line)
        ]
        with FakeDatabases(w.emulator).instead():
            ended = await desk.types(
                *(
                    f"{tmp_path}/{word}" if word.endswith(("/", ".zip")) else word
                    for word in words
                )
            )
        assert ended.code == 0, ended.err
    sent = Counter(entry.kind for entry in w.emulator.journal)
    assert sent["create"] == PAGES[page]
    assert sent["restore"] == (page in {"prove-a-backup", "get-my-data-back"})
    if page in {"cron", "cli"}:
        assert list(
            (tmp_path / {"cron": "archives", "cli": "backups"}[page]).rglob("*.zip")
        )


def kept_in(folder: Path) -> dict[str, str]:
    """The files of a state directory, by their names without what is made of key and address."""
    return {
        path.name.partition(".")[2]: path.read_text(errors="replace")
        for path in folder.iterdir()
    }


@at_desk()
async def test_every_file_that_stays_on_the_machine_is_explained(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    table = (
        (PROJECT / "docs" / "platforms.md")
        .read_text()
        .partition("| file |")[2]
        .partition("\n\n")[0]
    )
    snapshot = (await desk.types("create", DATABASE, "--json")).done.json["id"]
    for command in (("list",), ("restore", snapshot, "--yes")):
        ended = await desk.types(*command)
        assert ended.code == 0, ended.err
    async with desk.invocation(StringIO(), StringIO()).session() as session:
        await note_last_drill(session.ledger, DATABASE, Drilled("2026-03-01T12:00:00Z"))
    left = kept_in(tmp_path / "state")
    assert not [
        text
        for text in left.values()
        if "Signature" in text or w.emulator.settings.api_key in text
    ]
    assert left.keys() == set(
        re.findall(r"^\| `[A-Z]+\.([\w.-]+)`", table, re.MULTILINE)
    )


def test_the_example_in_the_help_of_each_command_has_arguments_that_exist() -> None:
    for command in (each for group in GROUPS.values() for each in group):
        example = (command.epilog or "").removeprefix("Example: ").partition(" -- ")[0]
        program, name, *words = shlex.split(example)
        assert (program, name) == ("squarecloud-snapshots", command.name)
        known = {option for one in command.params for option in one.opts}
        for each in getattr(command, "commands", {}).values():
            known |= {each.name}
        assert {word for word in words if word.startswith("--")} <= known, words
