"""A restore on a terminal says what it overwrites and waits for the database's name or id; scripts say `--yes`."""

import os
import signal
from datetime import timedelta
from functools import partial
from io import StringIO

import pytest

from tests.cli.typed import Desk, Terminal, at_desk
from tests.support.world import DATABASE, OTHER_DATABASE, START, World

SHOP = "c" * 32
VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"


def shop(w: World) -> None:
    w.emulator.add_database(SHOP, name="shop")
    w.emulator.add_snapshot(
        SHOP, modified=START - timedelta(hours=2), version_id=VERSION
    )


ANSWERS = {
    "shop\n": 0,
    f"{SHOP}\n": 0,
    f"  {SHOP} \n": 0,
    **dict.fromkeys(
        ("", "\n", "y\n", "yes\n", "Shop\n", f"{SHOP[:-1]}\n", f"{DATABASE}\n"), 2
    ),
}


@pytest.mark.parametrize("typed", ANSWERS)
@at_desk()
async def test_only_the_typed_name_or_id_starts_the_restore(
    desk: Desk, w: World, typed: str
) -> None:
    shop(w)
    ended = await desk.types(
        "restore", f"{SHOP}/{VERSION}", typed=Terminal(typed), err=Terminal()
    )
    assert (ended.code, len(w.requests("restore"))) == (
        ANSWERS[typed],
        ANSWERS[typed] == 0,
    )
    overwrites = f"This overwrites everything that database shop ({SHOP}) holds with the snapshot of 2026-03-01 10:00"
    assert overwrites in ended.err
    assert f"\n{SHOP}/{VERSION}\n" in ended.err
    nothing = (
        "that is neither the name nor the id of the database. Nothing was restored."
    )
    assert (nothing in ended.err) is (ended.code == 2)
    assert "--help" not in ended.err, "the help would not say the name"


@at_desk(snapshot_seconds=30)
async def test_a_snapshot_that_an_old_page_lacks_is_described_as_a_run_knows_it(
    desk: Desk, w: World
) -> None:
    old = w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=7))
    freezing = ("url", f"{DATABASE}/{old.version_id}")
    assert (await Desk(w, desk.state / "of-a-third").types(*freezing)).done.out
    assert (await desk.types("create", DATABASE)).done.out
    newest = f"{DATABASE}/{w.started()}"
    ended = await desk.types(
        "restore", newest, typed=Terminal(f"{DATABASE}\n"), err=Terminal()
    )
    told = f"with the snapshot of 2026-03-01 12:00:30 UTC:\n{newest}\n"
    assert told in ended.done.err
    assert len(w.requests("restore")) == 1


@at_desk(databases=(DATABASE, OTHER_DATABASE))
async def test_the_database_that_is_overwritten_is_to_be_typed(
    desk: Desk, w: World
) -> None:
    shop(w)
    command = ("restore", "ccc/45ec0b49", "--onto", "b25")
    (await desk.types(*command, typed=Terminal("shop\n"), err=Terminal())).failed(
        f"{OTHER_DATABASE}) holds", code=2
    )
    right = await desk.types(
        *command, typed=Terminal(f"{OTHER_DATABASE}\n"), err=Terminal()
    )
    assert right.code == 0
    assert [one.database_id for one in w.requests("restore")] == [OTHER_DATABASE]


@pytest.mark.parametrize("terminal", ["none", "input", "error"])
@at_desk()
async def test_without_a_terminal_only_yes_restores_and_asks_nothing(
    desk: Desk, w: World, terminal: str
) -> None:
    shop(w)
    typed = Terminal("shop\n") if terminal == "input" else StringIO("shop\n")
    err = Terminal() if terminal == "error" else StringIO()
    command = ("restore", f"{SHOP}/{VERSION}")
    (await desk.types(*command, typed=typed, err=err)).failed(
        f"restore overwrites everything that database {SHOP} holds: add --yes", code=2
    )
    assert not w.emulator.journal
    ended = (await desk.types(*command, "--yes", typed=typed, err=err)).done
    assert "This overwrites" not in ended.err
    assert not w.requests("database")


@at_desk()
async def test_an_unknown_snapshot_is_refused_before_anything_is_typed(
    desk: Desk, w: World
) -> None:
    shop(w)
    unknown = VERSION.replace("4", "5")
    ended = (
        await desk.types(
            "restore", f"{SHOP}/{unknown}", typed=Terminal("shop\n"), err=Terminal()
        )
    ).failed(f"service lists no snapshot {unknown}")
    assert "Type the name" not in ended.err


@at_desk()
async def test_a_signal_ends_a_restore_that_waits_for_an_answer(
    desk: Desk, w: World
) -> None:
    shop(w)
    ours, theirs = os.openpty()  # somebody at a terminal who has not typed anything yet
    with os.fdopen(ours), os.fdopen(theirs) as terminal:
        restoring = desk.types(
            "restore", f"{SHOP}/{VERSION}", typed=terminal, err=Terminal()
        )
        ended = await w.meanwhile(
            3, partial(signal.raise_signal, signal.SIGINT), restoring
        )
    assert ended.code == 130
    assert not w.requests("restore")
