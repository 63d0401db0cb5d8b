"""What the commands do, and show to people and programs on standard output and standard error."""

import re
import signal
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from pulumi_snapshots.cli.commands import GROUPS
from pulumi_snapshots.snapshot.record import SnapshotRecord
from tests.cli.typed import Desk, Ended, Terminal, at_desk
from tests.lookup.test_lookups import entry, listing_of
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, World, world

BOTH = (DATABASE, OTHER_DATABASE)
SIZE = 5_000_000
VERSION = "v" * 24


def test_each_command_has_a_file_of_its_own() -> None:
    for command in (
        each for group in GROUPS.values() for each in group if each.callback
    ):
        assert command.callback.__module__.endswith(
            f".{str(command.name).replace('-', '_')}"
        )


@at_desk(databases=BOTH)
async def test_list_shows_the_account_newest_first_or_one_database(
    desk: Desk, w: World
) -> None:
    old = w.emulator.add_snapshot(
        DATABASE, modified=START - timedelta(days=2), size=10_644_463
    )
    new = w.emulator.add_snapshot(
        OTHER_DATABASE, modified=START - timedelta(hours=1), origin="automatic"
    )
    heading, first, second = (await desk.types("list")).done.out.splitlines()
    assert heading.split() == ["SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE"]
    assert first.startswith(
        f"{OTHER_DATABASE}/{new.version_id}  2026-03-01 11:00:00 UTC  "
    )
    assert (
        second.split()
        == f"{DATABASE}/{old.version_id} 2026-02-27 12:00:00 UTC 10.6 MB manual postgres".split()
    )
    plain = (await desk.types("list", DATABASE, "--json")).done
    (one,) = plain.json
    assert (one["id"], one["size"]) == (f"{DATABASE}/{old.version_id}", 10_644_463)
    assert set(one) == {"id", *SnapshotRecord(DATABASE).to_outputs()} - {"download_url"}
    assert "http" not in plain.out
    (one,) = (await desk.types("list", DATABASE, "--json", "--urls")).done.json
    assert await w.download(one["download_url"]) == w.emulator.archive_of(
        old.version_id
    )
    by_age = (
        "list",
        "--origin",
        "manual",
        "--newer-than",
        "3d",
        "--older-than",
        "90m",
        "--json",
    )
    assert [each["id"] for each in (await desk.types(*by_age)).done.json] == [one["id"]]
    nothing = ("list", DATABASE, "--newer-than", "1m")
    ended = (await desk.types(*nothing)).done
    assert (ended.out, ended.err.splitlines()[-1]) == ("", "no snapshots")
    ended = (await desk.types(*nothing, "--json")).done
    assert ended.out == "[]\n"
    assert "no snapshots" not in ended.err


@pytest.mark.parametrize("columns", [150, 80, 20])
@staged(world)
async def test_a_narrow_terminal_cuts_no_id_and_the_services_text_steers_none(
    w: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(
        "pulumi_snapshots.cli.terminal.output.width_of", lambda _: columns
    )
    stored = w.emulator.add_snapshot(DATABASE, runtime="\x1b]0;o\x07[red]x")
    out = (await Desk(w, tmp_path).types("list", out=Terminal())).done.out
    assert (len(out.splitlines()), "SNAPSHOT" in out, "\x1b" in out) == (
        2,
        columns == 150,
        False,
    )
    assert f"{DATABASE}/{stored.version_id}" in out
    assert ("origin manual" in out) is (columns != 150), "a column has its name"
    assert "\\x1b]0;o\\x07[red]x" in out


@staged(world, snapshot_seconds=1)
async def test_people_read_their_own_time_and_programs_utc(
    w: World, tmp_path: Path
) -> None:
    desk = Desk(w, tmp_path, zone=timezone(timedelta(hours=-3), "-03"))
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=11))
    assert (
        "  2026-02-28 22:00:00 -03  " in (await desk.types("list", DATABASE)).done.out
    )
    (one,) = (await desk.types("list", DATABASE, "--json")).done.json
    assert one["created_at"] == "2026-03-01T01:00:00Z"
    taken = (await desk.types("create", DATABASE)).done
    assert re.match(r"09:00:\d\d -03  sent; answer by 09:02:\d\d -03\n", taken.err)
    assert "UTC" not in taken.err
    said = re.search(r"^requested +2026-03-01 09:00:\d\d -03$", taken.out, re.MULTILINE)
    assert said


def times(ended: Ended) -> list[str]:
    names = ("requested", "created", "expires")
    return [row for row in ended.out.splitlines() if row.startswith(names)]


@at_desk(snapshot_seconds=40)
async def test_a_snapshot_has_one_time_of_creation_in_every_command(
    desk: Desk, w: World
) -> None:
    taken = (await desk.types("create", DATABASE)).done
    assert times(taken) == [
        "requested  2026-03-01 12:00:00 UTC",
        "expires    after 2026-03-31 12:00:00 UTC",
    ], "the service has not said yet when it was taken"
    (row,) = (await desk.types("list")).done.out.splitlines()[1:]
    assert row.startswith(f"{DATABASE}/{w.started()}  2026-03-01 12:00:40 UTC  ")
    shown = (await desk.types("show", f"{DATABASE}/latest")).done
    assert times(shown) == [
        "created   2026-03-01 12:00:40 UTC",
        "expires   2026-03-31 12:00:40 UTC",
    ]


# create --------------------------------------------------------------------------------------------------------------


@at_desk(snapshot_seconds=200)
async def test_create_waits_for_exactly_its_snapshot(desk: Desk, w: World) -> None:
    ended = (await desk.types("create", DATABASE)).done
    assert ended.out.splitlines()[0] == f"snapshot   {DATABASE}/{w.started()}"
    assert times(ended) == [
        "requested  2026-03-01 12:00:00 UTC",
        "created    2026-03-01 12:03:20 UTC",
        "expires    2026-03-31 12:03:20 UTC",
    ]
    log = ended.err.splitlines()
    assert log[0] == "12:00:00 UTC  sent; answer by 12:02:00 UTC"
    assert log[-2].endswith(f"found snapshot {w.started()}")
    step = f"squarecloud-snapshots download {DATABASE}/{w.started()} --output {DATABASE}.zip"
    assert log[-1] == f"hint: `{step}` downloads it."
    one = (
        await desk.types("create", DATABASE, "--reuse-within", "4h", "--json", "--urls")
    ).done.json
    assert (one["version_id"], one["attempt"]) == (w.started(), None)
    assert await w.download(one["download_url"])
    assert len(w.posts) == 1


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb"}])
@staged(world, snapshot_seconds=200)
async def test_a_terminal_shows_a_live_line_if_it_can(
    w: World, tmp_path: Path, environment: dict[str, str]
) -> None:
    desk = Desk(w, tmp_path, environment)
    ended = (await desk.types("create", DATABASE, err=Terminal())).done
    assert ("UTC  sent" in ended.err) is ("TERM" in environment), "a line of a log"
    assert f"found snapshot {w.started()}" in ended.err
    desk.environment["COLUMNS"] = "25"
    narrow = (await desk.types("list", err=Terminal())).done.err
    lines = (
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", narrow).replace("\r", "\n").splitlines()
    )
    assert ("asking" in narrow) is ("TERM" not in environment)
    assert all(len(line) <= 25 for line in lines)
    assert narrow.isascii()


ENDS = {
    "^C while the POST is open": (50, signal.SIGINT, "45m"),
    "SIGTERM": (100, signal.SIGTERM, "45m"),
    "closed terminal": (100, signal.SIGHUP, "45m"),
    "timeout": (100, None, "150s"),
    "kill": (100, signal.SIGKILL, "45m"),
}
"""By their names: how a create can end early. After how many seconds, by which signal, its timeout."""


@pytest.mark.parametrize("end", ENDS)
@at_desk(snapshot_seconds=300)
async def test_a_create_that_ended_early_says_how_to_get_its_snapshot(
    desk: Desk, w: World, end: str
) -> None:
    after, by, timeout = ENDS[end]
    command = ("create", DATABASE, "--json", "--timeout", timeout)
    if by is signal.SIGKILL:
        async with desk.killed(*command):
            await w.clock.sleep(after)
    else:
        ended = await (
            desk.interrupted(after, *command, by=by) if by else desk.types(*command)
        )
        is_accepted = after > 90
        sent = "202" if is_accepted else "not answered"
        said = "accepted (202), but is" if is_accepted else "is not answered yet: "
        ended.failed(
            said,
            f"listed yet. The wait {'was interrupted' if by else 'ended after 2 min 30 s'}.",
            f"`squarecloud-snapshots create {DATABASE} --reuse-within 1h` on this machine keeps",
            code=128 + by if by else 1,
        )
        assert (ended.json["version_id"], ended.json["attempt"]["answered"]) == (
            None,
            sent,
        )
        assert "pulumi" not in ended.err
    assert (
        w.started()
        in (await desk.types("create", DATABASE, "--reuse-within", "1h")).done.out
    )
    assert len(w.posts) == 1


@virtual
async def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As under nohup, or for ^C in a script's background job."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with world(snapshot_seconds=300) as w:
        ended = await Desk(w, tmp_path).interrupted(
            100, "create", DATABASE, by=signal.SIGHUP
        )
        assert w.started() in ended.done.out


# download, archive -----------------------------------------------------------------------------------------------------


@at_desk()
async def test_download_and_archive_write_the_whole_file_and_show_its_digest(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    file = tmp_path / "one.zip"
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=2), size=SIZE)
    stored = w.emulator.add_snapshot(DATABASE, origin="automatic", size=SIZE)
    file.write_text("what was there before")
    ended = (
        await desk.types(
            "download", f"{DATABASE}/latest", "-o", str(file), "--json", "--force"
        )
    ).done
    assert file.read_bytes() == w.emulator.archive_of(stored.version_id)
    assert not file.with_name("one.zip.json").exists(), "a download has no manifest"
    one = f"{DATABASE}/{stored.version_id}"
    assert (ended.json["uri"], ended.json["size"], ended.json["id"]) == (
        file.as_uri(),
        file.stat().st_size,
        one,
    )
    assert (
        f"the newest snapshot is {one}, taken on 2026-03-01 12:00:00 UTC" in ended.err
    )
    assert [entry.kind for entry in w.emulator.journal] == ["list account", "download"]
    people = (
        await desk.types("download", one, "-o", str(file), "--force", err=Terminal())
    ).done
    digest = f"sha256      {ended.json['sha256']}"
    assert people.out.splitlines() == [
        f"downloaded  {file}",
        "size        5.0 MB",
        digest,
    ]
    (await desk.types("download", "unknown/latest", "--output", str(file))).failed()
    assert file.read_bytes() == w.emulator.archive_of(stored.version_id)
    await desk.types("archive", one, f"{tmp_path}/kept/")
    (archived,) = (tmp_path / "kept" / DATABASE).glob("*.zip")
    assert archived.name == f"20260301T120000Z-{stored.version_id}.zip"


@at_desk(cache_world="kept")
async def test_an_old_page_hides_no_snapshot_that_a_run_has_taken(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    file = tmp_path / "db.zip"
    await desk.types("list")
    # A key that cannot read databases uses the database's own page too.
    every = w.emulator.settings
    w.emulator.settings = replace(every, scopes=frozenset({"snapshots:read"}))
    await desk.types("list", DATABASE, "--json")
    w.emulator.settings = every
    w.emulator.advance(3 * 60)
    created = (await desk.types("create", DATABASE)).done
    assert "listing is old" not in created.err, (
        "its version is known, and nobody asked for its URL"
    )
    assert "serves the newest snapshot of the database" not in created.err
    one = f"{DATABASE}/{w.started()}"
    commands = (
        ("list",),
        ("list", DATABASE, "--newer-than", "7d"),
        ("show", f"{DATABASE}/latest"),
        ("show", one),
    )
    for command in (*commands, ("show", one[:-10])):
        ended = (await desk.types(*command)).done
        assert one in ended.out, command
        warned = (
            f"warning: the service's page is old and lacks {one}: "
            "shown as runs have noted it, with the time of its request."
        )
        assert [
            line for line in ended.err.splitlines() if line.startswith("warning")
        ] == [warned]
    wrong = await desk.types("restore", f"{DATABASE}/zzzz", "--yes")
    assert re.search(rf"{w.started()}  2026-03-01T12:03:\d\dZ, manual", wrong.err)
    assert (
        "listing is old until 12:"
        in (await desk.types("download", one, "--output", str(file))).done.err
    )
    assert file.read_bytes() == w.emulator.archive_of(w.started())
    assert len(w.posts) == 1


@at_desk()
async def test_an_interrupted_download_leaves_no_partial_file(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "one.zip"
    file.parent.mkdir()
    file.write_text("what was there before")
    one = f"{DATABASE}/{w.emulator.add_snapshot(DATABASE, size=SIZE).version_id}"
    w.fault(kind="download", cut_after=600_000, times=None)
    ended = await desk.interrupted(5, "download", one, "--output", str(file), "--force")
    ended.failed(
        f"Error: Snapshot {one} was not downloaded to {file}: ",
        "it was interrupted at",
        code=130,
    )
    assert [(each.name, each.read_text()) for each in file.parent.iterdir()] == [
        ("one.zip", "what was there before")
    ]
    assert ended.out == ""


# restore ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [2, 20])
@pytest.mark.parametrize("route", ["there", "404"], ids=["status", "no status"])
@virtual
async def test_a_restore_days_later_does_not_pass_for_one(
    tmp_path: Path, days: int, route: str
) -> None:
    async with world(restore_status_route=route) as w:
        desk = Desk(w, tmp_path)
        stored = w.emulator.add_snapshot(DATABASE)
        command = ("restore", f"{DATABASE}/{stored.version_id}", "--yes", "--no-keep")
        await desk.interrupted(45, *command)
        await w.clock.sleep(days * 86400)
        again = (await desk.types(*command)).failed("\nhint: `--new` restores again")
        assert again.out == ""
        (error,) = [
            line for line in again.err.splitlines() if line.startswith("Error: ")
        ]
        assert "was requested at 2026-03-01T12:00:00Z by the same command" in error
        assert "its end was not seen" in error
        assert len(w.requests("restore")) == 1


@at_desk(databases=BOTH)
async def test_an_interrupted_restore_shows_the_command_that_resumes_it_and_new_restores_again(
    desk: Desk, w: World
) -> None:
    w.emulator.execute(
        DATABASE, "CREATE TABLE orders (n)", "INSERT INTO orders VALUES (7)"
    )
    one, two = (
        w.emulator.add_snapshot(
            DATABASE, modified=START - timedelta(hours=age)
        ).version_id
        for age in (2, 1)
    )
    ended = await desk.interrupted(
        20,
        "restore",
        f"{DATABASE}/{one}",
        "--onto",
        OTHER_DATABASE,
        "--yes",
        "--no-keep",
        "--json",
    )
    assert (ended.code, ended.json["restored_at"]) == (130, None)
    assert (
        "keeps waiting for it and sends no second request.\nhint: `--new` restores again"
        in ended.err
    )
    (said,) = re.findall(r"`squarecloud-snapshots (restore [^`]+)`", ended.err)
    again = (await desk.types(*str(said).replace(" --json", "").split())).done
    assert again.out.splitlines()[:2] == [
        f"restored  {DATABASE}/{one}",
        f"onto      {OTHER_DATABASE}",
    ]
    assert "by an earlier run; no new request was sent" in again.err
    assert "pulumi up" not in again.err
    ((row,),) = w.emulator.execute(OTHER_DATABASE, "SELECT n FROM orders")
    assert (tuple(row), len(w.requests("restore"))) == ((7,), 1)
    for version, new in ((two, ()), (one, ("--new",))):
        ended = (
            await desk.types(
                "restore", f"{DATABASE}/{version}", "--yes", "--no-keep", *new, "--json"
            )
        ).done
        assert (ended.json["id"], bool(ended.json["restored_at"])) == (
            f"{DATABASE}/{version}",
            True,
        )
    assert [each.version_id for each in w.requests("restore") if each.accepted] == [
        one,
        two,
        one,
    ]


@pytest.mark.parametrize("pin", [f"&versionId={VERSION}", ""], ids=["pinned", "newest"])
@at_desk()
async def test_a_url_that_serves_whatever_is_newest_is_not_printed(
    desk: Desk, w: World, pin: str
) -> None:
    url = f"https://snapshots.test/databases/account/{DATABASE}.zip?Expires=1788000000{pin}"
    w.emulator.add_fault(listing_of(entry(url=url)))
    ended = await desk.types("url", f"{DATABASE}/{VERSION}")
    if pin:
        assert ended.done.out == f"{url}\n"
    else:
        ended.failed(f"the service lists no URL of its own for {DATABASE}/{VERSION}")
        assert ended.out == ""
