"""What `databases` shows, with how many requests, and the page that a second command within 20 s shows instead of waiting."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.service.errors import ACCOUNT_READ, DATABASES_READ, SNAPSHOTS_READ
from tests.cli.typed import Desk, at_desk
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, START, World, world

BOTH = (DATABASE, OTHER_DATABASE)


@staged(world, databases=BOTH)
async def test_databases_shows_each_with_its_newest_snapshot_in_three_requests(
    w: World, tmp_path: Path
) -> None:
    w.emulator.add_database("c" * 32, name="shop", type="mysql")
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(days=2))
    new = w.emulator.add_snapshot(
        DATABASE,
        modified=START - timedelta(hours=3),
        origin="automatic",
        size=5_000_000,
    )
    w.emulator.add_snapshot(OTHER_DATABASE, modified=START - timedelta(days=31))
    w.emulator.stop_database(OTHER_DATABASE)
    ended = (await Desk(w, tmp_path).types("databases")).done
    assert [entry.kind for entry in w.emulator.journal] == [
        "me",
        "statuses",
        "list account",
    ]
    heading, first, second, third = ended.out.splitlines()
    assert heading.split() == [
        "DATABASE",
        "NAME",
        "ENGINE",
        "RUNNING",
        "NEWEST",
        "SNAPSHOT",
        "AGE",
    ]
    assert re.fullmatch(
        rf"{DATABASE}  \S+ +postgres  yes      {new.version_id}  3 h", first
    )
    assert second.split()[3:] == ["no", "none"]
    assert third.split() == ["c" * 32, "shop", "mysql", "yes", "none"]
    assert ended.err == ""
    ended = (await Desk(w, tmp_path / "another").types("databases", "--json")).done
    _has_the_newest_snapshot(ended.json[0], f"{DATABASE}/{new.version_id}")
    assert "http" not in ended.out
    (file,) = (tmp_path / "another").glob("*.pages.json")
    kept = file.read_text()
    assert {"snapshots", "databases"} < set(json.loads(kept))
    assert not re.search("http|ignature", kept), "no download URL is kept in a file"


def _has_the_newest_snapshot(one: dict[str, Any], snapshot: str) -> None:
    """What a program reads of the first database."""
    assert (one["id"], one["type"], one["running"]) == (DATABASE, "postgres", True)
    newest = one["newest_snapshot"]
    assert (newest["id"], newest["size"]) == (snapshot, 5_000_000)
    assert one["newest_age"] == pytest.approx(3 * 3600, abs=30)
    assert 0 <= one["listing_age"] < 2


@at_desk(databases=BOTH)
async def test_an_expired_or_empty_snapshot_is_not_the_newest(
    desk: Desk, w: World
) -> None:
    w.emulator.add_snapshot(
        DATABASE, modified=START - timedelta(days=30) + timedelta(seconds=10)
    )
    empty = w.emulator.add_snapshot(OTHER_DATABASE, modified=START - timedelta(hours=1))
    empty.size = 0
    first = (await desk.types("databases", "--json")).done.json
    assert [bool(one["newest_snapshot"]) for one in first] == [True, False]
    # the service serves the same page, on which one has expired by now
    await w.clock.sleep(25)
    again = (await desk.types("databases", "--json")).done.json
    assert [one["newest_snapshot"] for one in again] == [None, None]


@pytest.mark.parametrize(
    ("scopes", "unknown"),
    [
        ({ACCOUNT_READ, SNAPSHOTS_READ}, "running"),
        ({ACCOUNT_READ, DATABASES_READ}, "newest"),
    ],
)
@at_desk()
async def test_databases_shows_what_the_key_may_see_and_says_what_it_lacks(
    desk: Desk, w: World, scopes: set[str], unknown: str
) -> None:
    stored = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=3))
    w.emulator.settings = replace(w.emulator.settings, scopes=frozenset(scopes))
    ended = (await desk.types("databases")).done
    row = ended.out.splitlines()[1].split()[3:]
    assert row == (
        ["?", stored.version_id, "3", "h"] if unknown == "running" else ["yes", "?"]
    )
    missing = DATABASES_READ if unknown == "running" else SNAPSHOTS_READ
    assert f"The API key lacks the scope {missing}" in ended.err


# The page of a moment ago ----------------------------------------------------------------------------------------------


@at_desk(databases=BOTH)
async def test_a_second_list_within_20_seconds_shows_the_last_page_with_its_age(
    desk: Desk, w: World
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=2))
    w.emulator.add_snapshot(
        OTHER_DATABASE, modified=START - timedelta(hours=1), origin="automatic"
    )
    first = (await desk.types("list")).done
    await w.clock.sleep(12)
    begun = w.clock.monotonic()
    second = (await desk.types("list")).done
    assert w.clock.monotonic() - begun < 1
    assert (second.out, first.err) == (first.out, "")
    assert (
        second.err
        == "as listed 12 s ago: the account's listing is requested at most once in 20 s\n"
    )
    filtered = (
        await desk.types("list", "--origin", "manual", "--newer-than", "3h")
    ).done
    assert [line.split()[0][:32] for line in filtered.out.splitlines()[1:]] == [
        DATABASE
    ]
    assert (await desk.types("databases")).done.err.startswith("as listed 12 s ago")
    assert len(w.requests("list account")) == 1
    await w.clock.sleep(9)
    assert (await desk.types("list")).done.err == ""
    assert len(w.requests("list account")) == 2


@at_desk(databases=BOTH, cache_world="invalidated", snapshot_seconds=1)
async def test_a_kept_page_gets_what_this_machine_knows_and_is_not_for_programs(
    desk: Desk, w: World
) -> None:
    await desk.types("list")
    taken = (await desk.types("create", DATABASE, "--json")).done.json["id"]
    ended = (await desk.types("list")).done
    assert taken in ended.out
    assert "as listed 1 s ago" in ended.err
    assert f"lacks {taken}: shown as runs have noted it" in ended.err
    await desk.types("list")
    begun = w.clock.monotonic()
    (one,) = (await desk.types("list", "--json", "--urls")).done.json
    assert await w.download(one["download_url"])
    assert w.clock.monotonic() - begun > 15
