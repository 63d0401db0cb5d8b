"""`explain` knows every error by name, code and status, and the last one of this machine; `help` knows every command."""

import re
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.cli.pages import last_error, page_names, pages_about, summary
from pulumi_snapshots.cli.terminal import output
from pulumi_snapshots.engine import wording
from pulumi_snapshots.errors.pages import keep_last
from pulumi_snapshots.service import errors
from tests.cli.typed import Desk, Terminal, at_desk
from tests.support.world import DATABASE, World


def test_every_code_of_the_service_and_every_error_is_explained() -> None:
    assert [code for code in errors.KNOWN_CODES if not pages_about(code)] == []
    assert [name for name in page_names() if len(summary(name)) < 5] == []


@pytest.mark.parametrize(
    ("typed", "begins", "has"),
    [
        ("Pending", "# Pending", "**Cause:**"),
        ("PENDING", "# Pending", "**Next:**"),
        ("KEEP_CALM", "# Cooldown", "429 KEEP_CALM"),
        (
            "rate_limited",
            "blocked ",
            "\nlisting-blocked  the account's listing has a limit of its own",
        ),
        (
            "CONTAINER_TEMPORARILY_SUSPENDED",
            "# DatabaseSuspended",
            "409 CONTAINER_TEMPORARILY",
        ),
        (
            "CONTAINER_INSUFFICIENT_DISK_SPACE",
            "# NoDiskSpace",
            "409 CONTAINER_INSUFFICIENT",
        ),
        (
            "CONTAINER_NETWORK_CONFLICT",
            "# NetworkConflict",
            "409 CONTAINER_NETWORK_CONFLICT",
        ),
        ("ACTION_FAILED", "# ActionFailed", "409 ACTION_FAILED"),
        ("429", "cooldown ", "\nquota-used-up "),
        (
            "",
            "Archives\n",
            "\n\nThe key, the address and settings\n",
        ),
    ],
)
@at_desk()
async def test_an_error_is_found_by_name_code_and_status(
    desk: Desk, w: World, typed: str, begins: str, has: str
) -> None:
    ended = (await desk.types("explain", *filter(None, [typed]))).done
    assert ended.out.startswith(begins)
    assert has in ended.out
    assert not w.emulator.journal


@at_desk()
async def test_a_page_fits_the_terminal_and_shows_no_markdown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (40, 80, 120):
        monkeypatch.setattr(output, "width_of", lambda _, columns=columns: columns)
        for typed in ((), ("key-refused",), ("restore-refused",)):
            shown = (await desk.types("explain", *typed, out=Terminal())).done.out
            plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
            assert max(map(len, plain.splitlines())) <= columns
            assert "**" not in plain
            assert typed or "…" not in plain, "the list cuts no text"
            assert "# " not in plain


@at_desk()
async def test_the_last_error_of_this_machine_is_shown_with_its_ids_and_explained(
    desk: Desk, w: World
) -> None:
    none = await desk.types("explain", "--last")
    assert (none.code, none.err) == (1, "no error of this machine is recorded\n")
    w.emulator.fail_next_snapshot(DATABASE)
    failed = await desk.types("create", DATABASE)
    await desk.types("create")  # a wrong argument says all itself
    ended = (await desk.types("explain", "--last")).done
    assert re.match(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\nsquarecloud-snapshots create\nError: ",
        ended.out,
    )
    assert failed.err.splitlines()[-3] in ended.out
    assert "\n# SnapshotFailed\n" in ended.out


def test_the_last_error_can_be_that_of_a_run_of_pulumi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUARECLOUD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(wording, "keep_last", keep_last)
    assert wording.final("Snapshot a/\ud800 failed.") == "Snapshot a/? failed."
    kept = last_error({"SQUARECLOUD_STATE_DIR": str(tmp_path / "state")})
    assert kept is not None
    assert kept[0] == "Snapshot a/? failed."


@at_desk()
async def test_help_is_a_command(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in (["create", "--help"], ["help", "create"], ["--help"], ["help"]):
        invocation = desk.invocation(StringIO(), StringIO())
        assert (
            commands.main(typed, "snapshots", standalone_mode=False, obj=invocation)
            == 0
        )
    one, same, every, too = re.split(
        r"(?=^Usage)", capsys.readouterr().out, flags=re.MULTILINE
    )[1:]
    assert (one, every) == (same, too)
    assert (
        re.findall(r"^   .*|.*\.\.\.$", every.partition("Snapshots:")[2], re.MULTILINE)
        == []
    ), "a summary takes a line"


# What people ask of one snapshot ---------------------------------------------------------------------------------------


@at_desk()
async def test_show_and_url_are_about_exactly_one_snapshot(
    desk: Desk, w: World
) -> None:
    old, new = (
        w.emulator.add_snapshot(DATABASE, modified=w.clock.utc() - timedelta(hours=age))
        for age in (3, 2)
    )
    shown = (await desk.types("show", f"{DATABASE}/{old.version_id}")).done.out
    assert shown.startswith(
        f"snapshot  {DATABASE}/{old.version_id}\ncreated   2026-03-01 09:00:00 UTC\nexpires   2026-03-31"
    )
    assert "origin    manual" in shown
    assert (
        "http"
        not in (
            await desk.types("show", f"{DATABASE}/{old.version_id}", "--json")
        ).done.out
    )
    for typed, version in (
        (old.version_id, old.version_id),
        ("latest", new.version_id),
    ):
        ended = (await desk.types("url", f"{DATABASE}/{typed}")).done
        assert await w.download(ended.out.strip()) == w.emulator.archive_of(version)
        assert "The URL expires at 2026-03-31" in ended.err
    assert (await desk.types("url", f"{DATABASE}/{'0' * 24}")).code == 1


@at_desk(snapshot_seconds=1)
async def test_quiet_prints_ids_alone(desk: Desk, w: World) -> None:
    created = (await desk.types("create", DATABASE, "-q")).done
    one = created.out.strip()
    assert (created.out, created.err) == (f"{DATABASE}/{w.started()}\n", "")
    for typed, out in (
        ("databases", f"{DATABASE}\n"),
        ("list", created.out),
        (f"show {one}", created.out),
        ("status", ""),
    ):
        ended = await desk.types(*typed.split(), "--quiet")
        assert (ended.done.out, ended.err) == (out, "")
    restored = (await desk.types("restore", one, "-y", "-q")).done
    assert (restored.out, restored.err) == (created.out, "")
