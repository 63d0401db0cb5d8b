"""A guarded change whose guard does not know its database: held back, or guarded by the one it had."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from pulumi_snapshots.dynamic import guard as module
from pulumi_snapshots.dynamic.guard import Guard
from tests.support.world import DATABASE, OTHER_DATABASE

URN = "urn:pulumi:dev::shop::servers:index:Server::app"
CHANGES = ("create", "update", "delete")


class Heard:
    """What the rows of the engine show, and which databases a change has waited for."""

    def __init__(self) -> None:
        self.shown = list[str]()
        self.guarded_by = list[str]()

    def say(self, text: str, *_: object, **__: object) -> None:
        self.shown.append(text)

    send = say

    async def flush(self) -> None:
        pass


def happen(
    change: str,
    heard: Heard,
    *,
    known: str | None = "not yet",
    had: str | None = None,
    setting: str = "on",
) -> None:
    """Do what the hook of a guard does before a change.

    Args:
        change: What the engine is about to do.
        heard: Takes what happens.
        known: The guard's database; None if what it comes from has failed.
        had: The database that the state has of it.
        setting: Whether guards are on.
    """

    async def carried_out(_when: str, inputs: Any, *_: object) -> None:
        heard.guarded_by.append(inputs.database_id)

    async def run() -> None:
        future = asyncio.get_running_loop().create_future()
        if known != "not yet":
            future.set_result(known)
        guard: Any = object.__new__(Guard)
        vars(guard).update(
            _preview=None,
            _changes=CHANGES,
            _known=future,
            _state=SimpleNamespace(
                database_id=had, guardable={URN: "servers:index:Server"}
            ),
            _settings=SimpleNamespace(guard=setting),
            _messages=heard,
            _inputs=lambda database_id: SimpleNamespace(
                database_id=database_id, passes_first_creates=True
            ),
            _carried_out=carried_out,
        )
        await guard._at_change("before", change, URN)

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_WITHIN", 0.0)


@pytest.mark.parametrize("known", [None, "not yet"], ids=["failed", "not yet"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_held_back_if_nothing_shows_the_database(
    change: str, known: str | None
) -> None:
    heard = Heard()
    with pytest.raises(pulumi.RunError, match=r"its database is not known"):
        happen(change, heard, known=known)
    assert heard.guarded_by == []


@pytest.mark.parametrize("change", CHANGES)
def test_only_a_delete_is_guarded_by_the_database_that_the_guard_had(
    change: str,
) -> None:
    heard = Heard()
    if change == "delete":
        happen(change, heard, had=OTHER_DATABASE)
    else:
        with pytest.raises(pulumi.RunError, match=r"its database is not known"):
            happen(change, heard, had=OTHER_DATABASE)
    assert heard.guarded_by == [OTHER_DATABASE][: change == "delete"]


@pytest.mark.parametrize("change", CHANGES)
def test_the_database_that_is_known_guards_each_change(change: str) -> None:
    heard = Heard()
    happen(change, heard, known=DATABASE, had=OTHER_DATABASE)
    assert heard.guarded_by == [DATABASE]


@pytest.mark.parametrize("change", CHANGES)
def test_guards_that_are_off_let_a_change_pass_and_say_so(change: str) -> None:
    heard = Heard()
    happen(change, heard, setting="off")
    assert heard.guarded_by == []
    (shown,) = heard.shown
    assert f"the {change} of Server app has no snapshot" in shown
