"""docs/howto/api-key.md: each row works with a key of exactly its scopes, and says which one is missing without one of them."""

import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.lookup.find import (
    find_database,
    find_databases,
    find_latest,
    find_snapshots,
)
from pulumi_snapshots.lookup.results import SnapshotQuery
from pulumi_snapshots.resources import RESOURCES
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.errors import (
    ACCOUNT_READ,
    DATABASES_READ,
    SNAPSHOTS_READ,
    SNAPSHOTS_WRITE,
    NotAllowed,
)
from pulumi_snapshots.snapshot.read import get, read
from squarecloud_emulator.service.resources import StoredSnapshot
from tests.archive.scene import Scene as ArchiveScene
from tests.archive.scene import at_once
from tests.cli.typed import Desk
from tests.support.drilling import CONNECTION, FakeDatabases
from tests.support.examples import EXAMPLES
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE, OTHER_DATABASE, World, world

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCOPES = (SNAPSHOTS_READ, SNAPSHOTS_WRITE, DATABASES_READ, ACCOUNT_READ)


@dataclass(frozen=True)
class Row:
    """What is used, and the scopes without which it fails, and those without which it tells less."""

    what: str
    needed: frozenset[str]
    more: frozenset[str]


def rows() -> dict[str, Row]:
    text = (
        (DOCS / "howto" / "api-key.md")
        .read_text()
        .split("<!-- scopes -->")[1]
        .split("<!-- /scopes -->")[0]
    )
    head, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    assert tuple(re.findall(r"`([^`]+)`", head)) == SCOPES
    found = {}
    for line in lines:
        what, *cells = [cell.strip() for cell in line[1:-1].split("|")]
        assert set(cells) <= {"yes", "more", ""}
        of = {
            kind: frozenset(
                s for s, cell in zip(SCOPES, cells, strict=True) if cell == kind
            )
            for kind in cells
        }
        found[what] = Row(what, of.get("yes", frozenset()), of.get("more", frozenset()))
    return found


ROWS = rows()


@dataclass
class At:
    """A service with a stored snapshot of a database with data, a session and a command line."""

    w: World
    stored: StoredSnapshot
    folder: Path

    @property
    def id(self) -> str:
        return f"{DATABASE}/{self.stored.version_id}"

    def narrow(self, scopes: frozenset[str]) -> None:
        """Let the key have these scopes only."""
        self.w.emulator.settings = replace(self.w.emulator.settings, scopes=scopes)

    async def types(self, *lines: str) -> str:
        """Type commands; returns what the last one prints."""
        desk = Desk(
            self.w,
            self.folder / "state",
            {"SCRATCH_URL": CONNECTION},
            in_thread=at_once,
        )
        printed = ""
        for line in lines:
            with FakeDatabases(self.w.emulator).instead():
                ended = await desk.types(
                    *shlex.split(line.format(id=self.id, folder=self.folder))
                )
            if ended.code:
                raise CommandFailed(ended.err + ended.out)
            printed = ended.out
        return printed

    def over_https(self) -> Session:
        """A session of an https address, since archives refuse another one."""
        self.w.emulator.base_url = "https://emulator.test"
        return self.w.another_run(
            api_url=self.w.emulator.api_url, snapshots_url=self.w.emulator.snapshots_url
        )

    async def archive(self, **given: Any) -> None:
        folder = self.folder / "archives"
        folder.mkdir()
        transfers = Transfers(
            clock=self.w.clock, http=self.w.transport, in_thread=at_once
        )
        await ArchiveScene(self.w, folder, self.stored, transfers).archive(**given)


class CommandFailed(Exception):
    pass


def commands(*lines: str) -> Callable[[At], Awaitable[Any]]:
    return lambda at: at.types(*lines)


async def _refresh(at: At, scopes: frozenset[str]) -> None:
    record = await get(at.w.another_run(), at.id)
    at.narrow(scopes)
    await at.w.clock.sleep(3600)
    await read(at.w.session, record, at.w.row)


async def _archive_by_url(at: At, scopes: frozenset[str]) -> None:
    url = (await get(at.over_https(), at.id)).download_url
    at.narrow(scopes)
    await at.archive(download_url=url)


async def _of_database(at: At) -> None:
    assert await find_snapshots(at.w.session, SnapshotQuery(DATABASE), 0.0)
    assert await find_latest(at.w.session, SnapshotQuery(DATABASE), 0.0)


DRILL = f"drill {{id}} --scratch {OTHER_DATABASE} --connection-env SCRATCH_URL --overwrite-scratch --check 'select 1 == 1'"
ALONE: dict[str, Callable[[At], Awaitable[Any]]] = {
    **{f"`{name}`": each.uses for name, each in EXAMPLES.items()},
    "`Snapshot.get`, `pulumi import`": lambda at: get(at.w.session, at.id),
    "`get_snapshots(database_id)`, `get_latest_snapshot`, `get_download_url`": _of_database,
    "`get_snapshots()`": lambda at: find_snapshots(
        at.w.session, SnapshotQuery(None), 0.0
    ),
    "`get_database`": lambda at: find_database(at.w.session, DATABASE, 0.0),
    "`get_databases`": lambda at: find_databases(at.w.session, 0.0, str),
    "`squarecloud-snapshots list`": commands("list", f"list {DATABASE}"),
    "`squarecloud-snapshots databases`": commands("databases"),
    "`squarecloud-snapshots status`": commands("status"),
    "`squarecloud-snapshots status DATABASE`": commands(f"status {DATABASE}"),
    "`squarecloud-snapshots create`": commands(f"create {DATABASE}"),
    "`squarecloud-snapshots guard`": commands(f"guard {DATABASE} -- true"),
    "`squarecloud-snapshots download`, `archive`": commands(
        "download {id} --output {folder}/one.zip", "archive {id} {folder}/"
    ),
    "`squarecloud-snapshots restore`": commands("restore {id} --yes"),
    "`squarecloud-snapshots drill`": commands(DRILL),
    "`squarecloud-snapshots doctor`": commands("doctor"),
}
"""How each row is used, with a key of some scopes."""
BEFORE = {
    "`pulumi refresh`": _refresh,
    "`Archive` with `download_url` alone": _archive_by_url,
}
"""Those that need more scopes for what comes before."""


def played(row: Row, scopes: frozenset[str], folder: Path) -> Any:
    async def play() -> Any:
        # A snapshot that is answered with 202 has to be found in a listing.
        async with world(
            databases=(DATABASE, OTHER_DATABASE), snapshot_seconds=100
        ) as w:
            w.emulator.execute(DATABASE, "CREATE TABLE orders (n)")
            (folder / "state").mkdir()
            w.emulator.add_snapshot(OTHER_DATABASE)
            stored = w.emulator.add_snapshot(
                DATABASE, modified=w.emulator.now() - timedelta(hours=1)
            )
            at = At(w, stored, folder)
            if row.what in BEFORE:
                return await BEFORE[row.what](at, scopes)
            at.narrow(scopes)
            return await ALONE[row.what](at)

    return run_virtual(play)


def test_every_row_is_played_and_every_resource_and_lookup_has_a_row() -> None:
    assert {*ALONE, *BEFORE} == ROWS.keys()
    named = set(re.findall(r"`([A-Za-z_]+)", " ".join(ROWS)))
    assert RESOURCES.keys() <= named
    assert {
        "get_snapshots",
        "get_latest_snapshot",
        "get_download_url",
        "get_database",
        "get_databases",
    } <= named


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.what)
def test_a_key_of_exactly_these_scopes_is_enough(row: Row, tmp_path: Path) -> None:
    played(row, row.needed, tmp_path)


@pytest.mark.parametrize(
    ("row", "missing"),
    [(row, scope) for row in ROWS.values() for scope in sorted(row.needed)],
    ids=lambda one: one.what if isinstance(one, Row) else one,
)
def test_without_one_of_them_the_error_names_it(
    row: Row, missing: str, tmp_path: Path
) -> None:
    with pytest.raises((ProviderError, CommandFailed)) as failed:
        played(row, frozenset(SCOPES) - {missing}, tmp_path)
    assert f"API key lacks the scope {missing}." in str(failed.value)
    cause: BaseException | None = failed.value
    while cause is not None and not isinstance(cause, NotAllowed):
        cause = cause.__cause__
    assert cause is not None or isinstance(failed.value, CommandFailed)


@pytest.mark.parametrize("page", ["docs/start.md", "README.md"])
def test_the_scopes_that_a_page_names_are_enough_for_what_it_shows(page: str) -> None:
    text = (DOCS.parent / page).read_text()
    named = set(re.findall(r"`([a-z]+:[a-z]+)`", text)) & set(SCOPES)
    programs = " ".join(
        re.findall(r"^```(?:sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    )
    used = [
        kind
        for kind in RESOURCES
        if f" = {kind}(" in programs or f"\n{kind}(" in programs
    ]
    if " = Guard(" in programs:  # it takes a snapshot, and what it prints restores that
        used += ["Snapshot", "Restore"]
    assert "Snapshot" in used
    assert named == frozenset().union(*(ROWS[f"`{kind}`"].needed for kind in used))
