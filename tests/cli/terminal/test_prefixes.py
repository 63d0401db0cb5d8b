"""The beginning of an id is enough if it is unique, costs a request only then, and never makes a command guess."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pulumi_snapshots.lookup.prefix import is_part_of_version
from pulumi_snapshots.service.errors import ACCOUNT_READ, SNAPSHOTS_READ, SNAPSHOTS_WRITE
from tests.cli.typed import Desk, Terminal
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.world import World

BOTH = (DATABASE, OTHER_DATABASE)
SIBLING = f"a14c{'0' * 28}"
FIRST, SECOND = "45ec0b49-9af6-445e-a55c-abd7ec5278b2", "45ed0b49-9af6-445e-a55c-abd7ec5278b2"


def two_versions(w: World) -> None:
    """Two snapshots of the first database, the second of which is newer."""
    for hours, version in ((2, FIRST), (1, SECOND)):
        w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=hours), size=1000, version_id=version)


COMMANDS = {
    "list": ("list", "a14"),
    "create": ("create", "a14", "--json"),
    "download": ("download", "a14/45ec0b49", "--output", "FOLDER/one.zip", "--json"),
    "archive": ("archive", "a14/45ec0b49", "FOLDER/", "--json"),
    "restore": ("restore", "a14/45ec0b49", "--yes", "--json"),
    "restore onto": ("restore", f"{OTHER_DATABASE}/45ee0b49", "--onto", "a14", "--yes", "--json"),
    "status": ("status", "a14", "--json"),
}
each_command = pytest.mark.parametrize("command", COMMANDS)
"""Every command that takes an id, with the beginning of one."""
THIRD = "45ee0b49-9af6-445e-a55c-abd7ec5278b2"


def typed(command: str, folder: Path) -> list[str]:
    return [part.replace("FOLDER", str(folder)) for part in COMMANDS[command]]


@each_command
@virtual
async def test_the_beginning_of_ids_is_enough(tmp_path: Path, command: str) -> None:
    async with world(databases=BOTH, snapshot_seconds=1) as w:
        two_versions(w)
        w.emulator.add_snapshot(OTHER_DATABASE, version_id=THIRD)
        ended = (await Desk(w, tmp_path / "state").types(*typed(command, tmp_path))).done
        assert DATABASE in ended.out
        if "45ec" in "".join(COMMANDS[command]):
            assert FIRST in ended.out
        assert len(w.requests("me")) == 1


@each_command
@virtual
async def test_what_is_no_single_id_is_refused_with_the_candidates(tmp_path: Path, command: str) -> None:
    async with world(databases=(*BOTH, SIBLING)) as w:
        two_versions(w)
        ended = await Desk(w, tmp_path / "state").types(*typed(command, tmp_path))
        assert (ended.code, ended.out) == (1, "")
        assert "Error: The ids of 2 databases begin with a14:\n" in ended.err
        assert f"\n  {DATABASE}  " in ended.err
        assert f"\n  {SIBLING}  " in ended.err
        assert OTHER_DATABASE not in ended.err
        assert "Nothing was done." in ended.err
        assert "Give more of the id" in ended.err
        assert [one.kind for one in w.emulator.journal if one.kind not in {"list", "me"}] == []


@each_command
@virtual
async def test_the_name_of_a_database_is_enough_and_its_id_is_shown(tmp_path: Path, command: str) -> None:
    async with world(databases=(OTHER_DATABASE,), snapshot_seconds=1) as w:
        w.emulator.add_database(DATABASE, name="my shop")
        two_versions(w)
        w.emulator.add_snapshot(OTHER_DATABASE, version_id=THIRD)
        words = [re.sub(r"^a14(?=/|$)", "my shop", word) for word in typed(command, tmp_path)]
        ended = (await Desk(w, tmp_path / "state").types(*words)).done
        assert DATABASE in ended.out
        shown = f"my shop is database {DATABASE}\n" in ended.err
        assert shown is (command != "status"), "its table shows the id, and cron would mail the line"
        assert len(w.requests("me")) == 1
        assert {each.database_id for each in w.requests("restore")} <= {DATABASE}


@virtual
async def test_a_name_that_two_databases_have_is_refused_with_both(tmp_path: Path) -> None:
    async with world(databases=()) as w:
        for database_id, name in ((DATABASE, "a1"), (OTHER_DATABASE, "shop"), (SIBLING, "shop"), ("c" * 32, "a14b")):
            w.emulator.add_database(database_id, name=name)
        desk = Desk(w, tmp_path)
        ended = await desk.types("create", "shop")
        assert ended.code == 1
        both = f"  {OTHER_DATABASE}  shop, postgres\n  {SIBLING}  shop, postgres.\nNothing was done."
        assert f"Error: 2 databases have the name shop, or ids that begin like it:\n{both}" in ended.err
        # A name that another id begins with is not guessed either.
        assert "2 databases have the name a14b, or ids" in (await desk.types("create", "a14b")).err
        assert (
            "No database has the name or the id Shop, only these are known:" in (await desk.types("create", "Shop")).err
        )
        assert not w.posts


@virtual
async def test_an_unknown_beginning_is_refused_with_what_there_is(tmp_path: Path) -> None:
    async with world(databases=(*BOTH, *(f"{number:032x}" for number in range(20)))) as w:
        two_versions(w)
        desk = Desk(w, tmp_path)
        ended = await desk.types("create", "fff")
        assert ended.code == 1
        assert f"No database's id begins with fff, only these are known:\n  {DATABASE}  " in ended.err
        assert "\n  and 12 more.\nNothing was done.\nhint: Check the id: " in ended.err
        assert "Give more" not in ended.err
        ended = await desk.types("download", f"{DATABASE}/45f", "--output", "x")
        assert ended.code == 1
        assert "No snapshot's id begins with 45f, only these are known:\n" in ended.err
        assert "A snapshot of the last 30 minutes may not be listed yet." in ended.err
        assert f"\n  {SECOND}  2026-03-01T11:00:00Z, manual\n  {FIRST}  2026-03-01T10:00:00Z, manual" in ended.err
        assert not w.posts


@virtual
async def test_versions_that_begin_alike_are_not_guessed_between(tmp_path: Path) -> None:
    async with world() as w:
        two_versions(w)
        ended = await Desk(w, tmp_path).types("restore", f"{DATABASE}/45e", "--yes")
        assert ended.code == 1
        assert "The ids of 2 snapshots begin with 45e:" in ended.err
        assert not w.requests("restore")


@pytest.mark.parametrize("command", ["download", "archive", "restore"])
@virtual
async def test_too_little_of_a_version_acts_on_no_older_one(tmp_path: Path, command: str) -> None:
    async with world(databases=BOTH, cache_world="kept") as w:
        two_versions(w)
        short = [part.replace("45ec0b49", "45ec0b4") for part in typed(command, tmp_path)]
        ended = await Desk(w, tmp_path / "state").types(*short)
        assert (ended.code, ended.out) == (1, "")
        assert "45ec0b4 is short of the 8 characters that it takes" in ended.err
        assert f"\n  {FIRST}  " in ended.err
        assert {one.kind for one in w.emulator.journal} == {"me", "list"}


@virtual
async def test_whole_ids_cost_no_request(tmp_path: Path) -> None:
    async with world() as w:
        two_versions(w)
        desk = Desk(w, tmp_path)
        (await desk.types("download", f"{DATABASE}/{FIRST}", "--output", f"{tmp_path}/a.zip")).done  # noqa: B018
        (await desk.types("download", f"{DATABASE}/45ec0b49", "--output", f"{tmp_path}/b.zip")).done  # noqa: B018
        assert [one.kind for one in w.emulator.journal] == ["list", "download", "list", "download"]


@virtual
async def test_an_id_that_another_one_begins_with_is_found(tmp_path: Path) -> None:
    async with world(databases=("a14", DATABASE)) as w:
        w.emulator.add_snapshot("a14", size=1000)
        w.emulator.add_snapshot(DATABASE, size=1000)
        assert DATABASE not in (await Desk(w, tmp_path).types("list", "a14")).done.out


@virtual
async def test_a_key_that_may_not_list_databases_finds_those_with_snapshots_and_guesses_no_other(
    tmp_path: Path,
) -> None:
    async with world(databases=BOTH) as w:
        two_versions(w)
        w.emulator.settings = replace(w.emulator.settings, scopes=frozenset({SNAPSHOTS_READ, SNAPSHOTS_WRITE}))
        desk = Desk(w, tmp_path)
        assert (
            FIRST in (await desk.types("download", "a14/45ec0b49", "--output", f"{tmp_path}/a.zip", "--json")).done.out
        )
        ended = await desk.types("create", "a14")
        assert ended.code == 1
        assert "a14 is only the beginning of a database's id, and the API key may not list the databases" in ended.err
        assert f"Give the whole id, or use a key with the scope {ACCOUNT_READ}" in ended.err
        assert not w.posts


@virtual
async def test_a_restore_by_the_beginning_of_ids_is_the_restore_of_the_whole_ids(tmp_path: Path) -> None:
    async with world() as w:
        two_versions(w)
        desk = Desk(w, tmp_path)
        begun = w.meanwhile(20, lambda: None, desk.types("restore", "a14/45ec0b49", "--yes", "--timeout", "15s"))
        assert (await begun).code == 1
        again = (await desk.types("restore", f"{DATABASE}/{FIRST}", "--yes")).done
        assert "no new request was sent" in again.err
        assert len(w.requests("restore")) == 1


@virtual
async def test_probe_asks_for_the_whole_id(tmp_path: Path) -> None:
    async with world(databases=BOTH) as w:
        ended = await Desk(w, tmp_path).types("probe", "a14", "--restore-onto", "b2", typed=Terminal("a14\n"))
        assert ended.code == 2
        assert f"Type the id of database {DATABASE} to" in ended.err
        assert "that is not its id. Nothing was sent." in ended.err
        assert [one.kind for one in w.emulator.journal] == ["me"]


@pytest.mark.parametrize(
    ("typed_id", "part"),
    [
        ("4", True),
        (FIRST, False),
        (FIRST[:-1], True),
        ("3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY", False),
        ("3HL4kqtJlcpXroDTDmJ.rmSpX", False),
        ("latest", False),
    ],
)
def test_a_version_that_may_be_whole_is_taken_as_it_is(typed_id: str, *, part: bool) -> None:
    assert is_part_of_version(typed_id) is part
