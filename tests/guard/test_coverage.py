"""Of which deletes a guard hears in a run, by what the state had before it; without an engine."""

from typing import Any

import pytest

from pulumi_snapshots.guard.coverage import (
    GUARD_TYPE,
    GUARDS_DELETES_NOW,
    GUARDS_MORE_NOW,
    IS_NEW,
    state_before,
)
from pulumi_snapshots.guard.inputs import CHOSEN, CHOSEN_ALL, GuardInputs
from pulumi_snapshots.guard.preview import PreviewedChanges
from tests.support.world import DATABASE, Row

STACK = "urn:pulumi:dev::app::"
SHOP = f"{STACK}servers:index:Server::shop"
OURS = f"{STACK}squarecloud:index:Snapshot::before"
ALL = ("create", "update", "delete")


def urn_of(name: str, parent: str = "") -> str:
    return f"{STACK}{parent}{GUARD_TYPE}::{name}"


def state(
    guard: dict[str, Any] | None = None,
    *registered: str,
    others: tuple[str, ...] = (SHOP,),
) -> Any:
    listed: dict[str, tuple[str, dict[str, Any]]] = {
        urn: (urn.split("::")[2], {}) for urn in (*others, OURS)
    }
    listed[urn_of("another")] = (GUARD_TYPE, {"before": [*ALL], "only": ["*"]})
    if guard is not None:
        listed[urn_of("guard", "my:shop:Shop$")] = (GUARD_TYPE, guard)
    return state_before(listed, registered, "guard")


@pytest.mark.parametrize(
    ("guard", "before", "only", "reason"),
    [
        (None, ALL, ["*"], IS_NEW),
        (None, ("create", "update"), ["*"], None),
        (None, ALL, ["worker"], None),
        (None, ALL, ["worker", "servers:*"], IS_NEW),
        (None, ALL, [CHOSEN + "x"], IS_NEW),
        (None, ALL, [], IS_NEW),
        ({"before": [*ALL], "only": ["*"]}, ALL, ["shop"], None),
        ({"before": [*ALL], "only": [CHOSEN_ALL]}, ALL, [CHOSEN + "x"], None),
        ({"before": ["update"], "only": ["*"]}, ALL, ["*"], GUARDS_DELETES_NOW),
        (
            {"before": [*ALL], "only": ["worker"]},
            ALL,
            ["worker", "shop"],
            GUARDS_MORE_NOW,
        ),
        ({"before": [*ALL], "only": ["worker"]}, ALL, ["worker"], None),
        (
            {"before": [*ALL], "only": [CHOSEN + "x"]},
            ALL,
            [CHOSEN_ALL],
            GUARDS_MORE_NOW,
        ),
    ],
)
def test_a_guard_that_hears_of_less_than_it_guards_says_why(
    guard: dict[str, Any] | None,
    before: tuple[str, ...],
    only: list[str],
    reason: str | None,
) -> None:
    assert state(guard).unhooked(before, only) == reason


def test_a_new_stack_has_nothing_to_lose() -> None:
    assert state(others=()).guardable == []
    assert state(None, SHOP).guardable == [], "this run has made it"
    assert state(None, SHOP).unhooked(ALL, ["*"]) is None


def test_the_database_that_the_guard_had_is_known() -> None:
    assert state({"databaseId": DATABASE}).database_id == DATABASE
    assert [state(each).database_id for each in (None, {}, {"databaseId": None})] == [
        None
    ] * 3


@pytest.mark.parametrize(("before", "created"), [(None, False), (["create"], True)])
def test_the_first_creates_of_a_stack_wait_only_if_the_program_says_so(
    before: Any, *, created: bool
) -> None:
    preview = PreviewedChanges(
        DATABASE, GuardInputs.of({"database_id": DATABASE, "before": before})
    )
    preview.in_state = []
    preview.show("create", SHOP, Row())
    assert (preview.summary() is not None) is created
    preview.in_state = [OURS]
    preview.show("create", SHOP, Row())
    assert str(preview.summary()).startswith(
        "1 change will wait for a snapshot of database"
    )


def test_a_preview_names_what_is_replaced_without_its_guard() -> None:
    preview = PreviewedChanges(DATABASE, GuardInputs(DATABASE))
    urns = [f"{SHOP}-{number}" for number in range(7)]
    preview.in_state = urns
    for urn in urns:
        preview.show("create", urn, Row())
    preview.show("create", f"{SHOP}-new", Row())
    preview.show("delete", urns[0], Row())
    told = str(preview.unguarded())
    assert told.startswith(
        "6 would be deleted without a snapshot, since the state does not have"
    )
    assert "shop-1, shop-2, shop-3, shop-4, shop-5, 1 more" in told
    preview.first_up = IS_NEW
    assert preview.unguarded() is None, "the snapshot is there before"
    assert str(preview.summary()).startswith(
        "the first run with this guard takes a snapshot of"
    )


def test_a_create_first_replacement_is_named_if_only_its_delete_waits() -> None:
    row = Row()
    preview = PreviewedChanges(
        DATABASE, GuardInputs.of({"database_id": DATABASE, "before": ["delete"]})
    )
    preview.show("create", SHOP, row)
    preview.show("delete", SHOP, row)
    assert "the new resource is created before the snapshot" in row.warnings[0]
