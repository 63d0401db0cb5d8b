"""The beginning of an id is enough if it is unique, costs a request only then, and never makes a command guess."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pulumi_snapshots.service.errors import (
    ACCOUNT_READ,
    DATABASES_READ,
    SNAPSHOTS_READ,
    SNAPSHOTS_WRITE,
)
from tests.cli.typed import Desk, Terminal, at_desk
from tests.support.world import DATABASE, OTHER_DATABASE, START, World

BOTH = (DATABASE, OTHER_DATABASE)
SIBLING = f"a14c{'0' * 28}"
FIRST = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
SECOND = "45ed0b49-9af6-445e-a55c-abd7ec5278b2"


def two_versions(w: World) -> None:
    """Two snapshots of the first database, the second of which is newer."""
    for hours, version in ((2, FIRST), (1, SECOND)):
        w.emulator.add_snapshot(
            DATABASE,
            modified=START - timedelta(hours=hours),
            size=1000,
            version_id=version,
        )


COMMANDS = {
    "list": ("list", "a14"),
    "create": ("create", "a14", "--json"),
    "download": ("download", "a14/45ec0b49", "--output", "FOLDER/one.zip", "--json"),
    "archive": ("archive", "a14/45ec0b49", "FOLDER/", "--json"),
    "restore": ("restore", "a14/45ec0b49", "--yes", "--json"),
    "restore onto": (
        "restore",
        f"{OTHER_DATABASE}/45ee0b49",
        "--onto",
        "a14",
        "--yes",
        "--json",
    ),
    "status": ("status", "a14", "--json"),
}
each_command = pytest.mark.parametrize("command", COMMANDS)
"""Every command that takes an id, with the beginning of one."""
THIRD = "45ee0b49-9af6-445e-a55c-abd7ec5278b2"


def typed(command: str, folder: Path) -> list[str]:
    return [part.replace("FOLDER", str(folder)) for part in COMMANDS[command]]


@pytest.mark.parametrize("spelled", ["a14", "my shop"])
@each_command
@at_desk(databases=(OTHER_DATABASE,), snapshot_seconds=1)
async def test_the_beginning_of_an_id_or_a_name_is_enough(
    desk: Desk, w: World, tmp_path: Path, command: str, spelled: str
) -> None:
    w.emulator.add_database(DATABASE, name="my shop")
    two_versions(w)
    w.emulator.add_snapshot(OTHER_DATABASE, version_id=THIRD)
    words = [re.sub(r"^a14(?=/|$)", spelled, word) for word in typed(command, tmp_path)]
    ended = (await desk.types(*words)).done
    assert DATABASE in ended.out
    assert FIRST in ended.out or "45ec" not in "".join(COMMANDS[command])
    shown = f"my shop is database {DATABASE}\n" in ended.err
    assert shown is (spelled == "my shop" and command != "status"), (
        "status shows it, and cron would mail the line"
    )
    assert len(w.requests("me")) == 1
    assert {each.database_id for each in w.requests("restore")} <= {DATABASE}


@each_command
@at_desk(databases=(*BOTH, SIBLING))
async def test_what_is_no_single_id_is_refused_with_the_candidates(
    desk: Desk, w: World, tmp_path: Path, command: str
) -> None:
    two_versions(w)
    ended = (await desk.types(*typed(command, tmp_path))).failed(
        "Error: The ids of 2 databases begin with a14:\n",
        f"\n  {DATABASE}  ",
        f"\n  {SIBLING}  ",
    )
    assert ended.out == ""
    assert OTHER_DATABASE not in ended.err
    assert "Nothing was done." in ended.err
    assert "Give more of the id" in ended.err
    assert [
        one.kind
        for one in w.emulator.journal
        if one.kind not in {"list", "list account", "me"}
    ] == []


BOTH_NAMED = f"  {OTHER_DATABASE}  shop, postgres\n  {SIBLING}  shop, postgres.\nNothing was done."
UNCLEAR = {
    # What is typed, and what is said.
    "create shop": [
        f"Error: 2 databases have the name shop, or ids that begin like it:\n{BOTH_NAMED}"
    ],
    # A name that another id begins with is not guessed either.
    "create a14b": ["2 databases have the name a14b, or ids"],
    "create Shop": ["No database has the name or id Shop. Known databases:"],
    "create fff": [
        f"No database's id begins with fff. Known databases:\n  {DATABASE}  ",
        "\n  and 12 more.\nNothing was done.\nhint: Check the id: ",
    ],
    f"download {DATABASE}/45f --output x": [
        "No snapshot's id begins with 45f. Known snapshots:\n",
        "A snapshot of the last 30 minutes can be missing from the listing.",
        f"\n  {SECOND}  2026-03-01T11:00:00Z, manual\n  {FIRST}  2026-03-01T10:00:00Z, manual",
    ],
    f"restore {DATABASE}/45ec0b4 --yes": [
        "45ec0b4 is shorter than the 8 characters that are needed",
        f"\n  {FIRST}  ",
    ],
    f"restore {DATABASE}/45e --yes": ["The ids of 2 snapshots begin with 45e:"],
}


@pytest.mark.parametrize("line", UNCLEAR)
@at_desk(databases=(), cache_world="kept")
async def test_a_beginning_of_several_or_no_ids_is_refused_with_a_list(
    desk: Desk, w: World, line: str
) -> None:
    named = {DATABASE: "a1", OTHER_DATABASE: "shop", SIBLING: "shop", "c" * 32: "a14b"}
    for database_id, name in {
        **named,
        **{f"{number:032x}": "" for number in range(18)},
    }.items():
        w.emulator.add_database(database_id, name=name)
    two_versions(w)
    ended = (await desk.types(*line.split())).failed(*UNCLEAR[line])
    assert ended.out == ""
    assert "fff" not in line or "Give more" not in ended.err
    assert {entry.kind for entry in w.emulator.journal} <= {
        "me",
        "list",
        "list account",
    }


@at_desk(databases=("a14", DATABASE))
async def test_whole_ids_cost_no_request_even_if_another_id_begins_with_one(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    two_versions(w)
    for version in (FIRST, "45ec0b49"):
        ended = await desk.types(
            "download", f"{DATABASE}/{version}", "--output", f"{tmp_path}/{version}.zip"
        )
        assert ended.code == 0
    assert [one.kind for one in w.emulator.journal] == [
        *("list", "download"),
        *("list account", "download"),
    ]
    w.emulator.add_snapshot("a14", size=1000)
    assert DATABASE not in (await desk.types("list", "a14")).done.out


@at_desk(databases=BOTH)
async def test_a_key_that_may_not_list_databases_guesses_none(
    desk: Desk, w: World
) -> None:
    w.emulator.settings = replace(
        w.emulator.settings, scopes=frozenset({SNAPSHOTS_READ, SNAPSHOTS_WRITE})
    )
    (await desk.types("create", "a14")).failed(
        "a14 is only the beginning of a database's id, and the API key may not list the databases",
        f"Give the whole id, or use a key with the scope {ACCOUNT_READ}",
    )
    assert not w.posts


@at_desk(databases=BOTH)
async def test_a_name_is_taken_for_an_id_aloud_if_the_key_may_not_list(
    desk: Desk, w: World
) -> None:
    w.emulator.settings = replace(
        w.emulator.settings, scopes=frozenset({SNAPSHOTS_READ, SNAPSHOTS_WRITE})
    )
    (await desk.types("list", "shop")).failed(
        "shop is taken for an id: the API key may not list the databases",
        f"Give the id, or use a key with the scope {ACCOUNT_READ}",
    )


@at_desk(databases=BOTH)
async def test_an_unknown_name_is_answered_with_the_ids_to_choose_from(
    desk: Desk, w: World
) -> None:
    ended = (await desk.types("create", "shop")).failed(
        f"{DATABASE}  ", f"{OTHER_DATABASE}  ", "hint: Give one of these ids."
    )
    assert "Check the id" not in ended.err
    assert not w.posts


@at_desk()
async def test_a_restore_by_the_beginning_of_ids_is_the_restore_of_the_whole_ids(
    desk: Desk, w: World
) -> None:
    two_versions(w)
    begun = w.meanwhile(
        20,
        lambda: None,
        desk.types("restore", "a14/45ec0b49", "--yes", "--timeout", "15s"),
    )
    assert (await begun).code == 1
    again = (await desk.types("restore", f"{DATABASE}/{FIRST}", "--yes")).done
    assert "no new request was sent" in again.err
    assert len(w.requests("restore")) == 1


@at_desk(databases=BOTH)
async def test_probe_asks_for_the_whole_id(desk: Desk, w: World) -> None:
    (
        await desk.types(
            "probe", "a14", "--restore-onto", "b2", typed=Terminal("a14\n")
        )
    ).failed(
        f"Type the id of database {DATABASE} to",
        "that is not the id of the database. Nothing was sent.",
        code=2,
    )
    assert [one.kind for one in w.emulator.journal] == ["me"]


@at_desk(databases=BOTH)
async def test_the_command_of_a_ci_log_works_with_a_key_for_snapshots_only(
    desk: Desk, w: World
) -> None:
    two_versions(w)
    scopes = frozenset({SNAPSHOTS_READ, SNAPSHOTS_WRITE, DATABASES_READ})
    w.emulator.settings = replace(w.emulator.settings, scopes=scopes)
    ended = await desk.types(
        "restore", f"{DATABASE[:8]}/{FIRST[:8]}", "--yes", "--json"
    )
    assert ended.done.json["id"] == f"{DATABASE}/{FIRST}"
    _ = (await desk.types("list", DATABASE[:7])).failed(
        "is only the beginning of a database's id"
    )


@at_desk(cache_world="kept")
async def test_the_command_of_a_ci_log_finds_what_only_one_listing_shows(
    desk: Desk, w: World
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=3))
    _ = (
        await desk.types("list", "--json")
    ).done  # the service keeps the account's page
    two_versions(w)
    ended = await desk.types(
        "restore", f"{DATABASE[:8]}/{FIRST[:8]}", "--yes", "--json"
    )
    assert ended.done.json["id"] == f"{DATABASE}/{FIRST}"


@at_desk(cache_world="kept")
async def test_the_beginning_that_no_listing_shows_yet_is_not_called_wrong(
    desk: Desk, w: World
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=3))
    # requests both listings
    _ = (await desk.types("show", f"{DATABASE}/{THIRD}")).failed()
    two_versions(w)
    ended = await desk.types("restore", f"{DATABASE}/{FIRST[:8]}", "--yes")
    assert "Run it again after 12:3" in ended.failed("the whole version id").err
    assert "Check the id" not in ended.err
