"""A secret that is typed for any argument or option is not shown, and the options of a new command are tried too."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.errors.pages import LAST_ERROR
from tests.cli.test_typed_secrets import AGE_KEY, DSN, TOKEN
from tests.cli.typed import Desk, at_desk
from tests.support.drilling import SCRATCH
from tests.support.guarding import Machine
from tests.support.memory import Memory
from tests.support.virtual import staged
from tests.support.world import DATABASE, World, world

SNAPSHOT = f"{DATABASE}/latest"
USUAL = {
    "archive": [SNAPSHOT, "here/"],
    "archives": ["here/"],
    "completion": ["bash"],
    "create": [DATABASE],
    "decrypt": ["one.zip.age", "-o", "one.zip", "--identity", "age.txt"],
    "download": [SNAPSHOT, "-o", "one.zip"],
    "drill": [
        SNAPSHOT,
        *("--scratch", SCRATCH, "--overwrite-scratch"),
        *("--check", "select 1 == 1", "--connection-env", "SCRATCH_URL"),
    ],
    "explain": ["429"],
    "forget": ["here/", "--keep-last", "3"],
    "guard": [DATABASE, "--", "true"],
    "list": [DATABASE],
    "probe": [DATABASE, "--yes", DATABASE],
    "report": [DATABASE],
    "restore": [SNAPSHOT, "--yes"],
    "show": [SNAPSHOT],
    "status": [DATABASE],
    "url": [SNAPSHOT],
}
"""What follows each command that needs something."""
SHOWN = {AGE_KEY: AGE_KEY[-40:], DSN: "Tr0ub4dor", TOKEN: TOKEN}
"""By a secret, the part that no text may show."""


def places() -> Iterator[tuple[str, str]]:
    """Each command with an argument, or an option that takes a value other than one of a few words."""
    for name, command in commands.commands.items():
        within = {name: command}
        if isinstance(command, click.Group):
            within = {
                f"{name} {each}": command.commands[each] for each in command.commands
            }
        for words, each in within.items():
            for parameter in each.params:
                takes_text = not isinstance(parameter.type, click.Choice)
                if isinstance(parameter, click.Option) and not parameter.is_flag:
                    yield from [(words, parameter.opts[0])] * takes_text
                elif isinstance(parameter, click.Argument):
                    yield words, parameter.name or ""


def typed(command: str, place: str, secret: str) -> list[str]:
    """A command line with a secret in this place."""
    usual = USUAL.get(command, [])
    if place.startswith("-"):
        at = usual.index("--") if "--" in usual else len(usual)
        return [*command.split(), *usual[:at], place, secret, *usual[at:]]
    at = 1 if (command, place) == ("archive", "destination") else 0
    return [*command.split(), *usual[:at], secret, *usual[at + 1 :]]


@pytest.mark.parametrize("secret", SHOWN, ids=["age key", "connection", "random"])
@pytest.mark.parametrize("place", [*places()], ids=" ".join)
@at_desk()
async def test_no_place_for_a_value_shows_a_secret_that_is_typed_there(
    desk: Desk, w: World, tmp_path: Path, place: tuple[str, str], secret: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    w.emulator.add_snapshot(DATABASE, size=1000)
    with contextlib.chdir(folder):
        ended = await desk.types(*typed(*place, secret))
    if secret is TOKEN and ended.code == 0 and list(folder.iterdir()):
        return  # such a name of a file is usual, and the file is there now
    kept = [path.read_text(errors="replace") for path in desk.state.rglob(LAST_ERROR)]
    told = "\n".join([ended.out, ended.err, *kept])
    assert SHOWN[secret] not in told, told


@staged(world, snapshot_seconds=5.0, cache_world="invalidated")
async def test_a_secret_typed_for_a_guard_is_not_shown(
    w: World, tmp_path: Path
) -> None:
    place = Memory(w.clock)
    await Machine(w, place).program().changes(1, guard="shop/prod")
    ended = await Desk(w, tmp_path, place=lambda: place).types("guards", TOKEN)
    ended.failed("Those that have: shop/prod")
    assert TOKEN not in ended.err
