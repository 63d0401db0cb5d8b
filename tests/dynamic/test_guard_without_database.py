"""A guarded change whose guard does not know its database: held back, or guarded by the one it had."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from pulumi_snapshots.dynamic import guard as module
from pulumi_snapshots.dynamic.guard import Guard
from pulumi_snapshots.guard.coverage import IS_NEW
from pulumi_snapshots.guard.inputs import CHOSEN_ALL, GuardInputs
from pulumi_snapshots.guard.once import OncePerRun
from pulumi_snapshots.program import Program
from pulumi_snapshots.program import guard as declaration
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


def happen(  # noqa: PLR0913  what a hook asks
    change: str,
    heard: Heard,
    *,
    known: str | None = "not yet",
    had: str | None = None,
    setting: str = "on",
    guardable: Collection[str] | None = (URN,),
    changes: Collection[str] = CHANGES,
) -> None:
    """Do what the hook of a guard does before a change.

    Args:
        change: What the engine is about to do.
        heard: Takes what happens.
        known: The guard's database; None if what it comes from has failed.
        had: The database that the state has of it.
        setting: Whether guards are on.
        guardable: What the state has; None if the engine does not show it.
        changes: What the guard guards.
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
            _changes=changes,
            _known=future,
            _state=(
                SimpleNamespace(database_id=had, guardable=guardable)
                if guardable is not None
                else None
            ),
            _settings=SimpleNamespace(guard=setting),
            _messages=heard,
            _inputs=GuardInputs,
            _carry_out=carried_out,
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


@pytest.mark.parametrize(
    ("guardable", "passes"), [(None, False), ((), True), ((URN,), False)]
)
def test_only_creates_of_a_stack_that_is_certainly_new_need_no_snapshot(
    guardable: Collection[str] | None, *, passes: bool
) -> None:
    heard = Heard()
    for change in ("create", "update"):
        happen(change, heard, known=DATABASE, guardable=guardable)
    assert heard.guarded_by == [DATABASE] * (1 if passes else 2)


def test_a_delete_whose_hook_is_only_in_the_state_is_not_guarded() -> None:
    heard = Heard()
    happen("delete", heard, known=DATABASE, changes=("create",))
    assert heard.guarded_by == []


@pytest.mark.parametrize(
    ("change", "had", "setting", "waits"),
    [
        ("update", OTHER_DATABASE, "on", 150.0),
        ("delete", None, "on", 150.0),
        ("delete", OTHER_DATABASE, "on", 0.0),
        ("update", None, "off", 0.0),
    ],
)
def test_what_must_not_wait_for_the_guards_database_does_not(
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    had: str | None,
    setting: str,
    waits: float,
) -> None:
    """The database may come from the very resource whose delete asks."""
    waited = list[float]()

    async def wait(_known: object, *, timeout: float) -> None:  # noqa: ASYNC109
        waited.append(timeout)

    monkeypatch.setattr(module, "KNOWN_WITHIN", 150.0)
    monkeypatch.setattr(asyncio, "wait", wait)
    with suppress(pulumi.RunError):
        happen(change, Heard(), had=had, setting=setting)
    assert waited == [waits]


@pytest.mark.parametrize(
    ("reason", "known", "in_preview", "taken"),
    [
        (IS_NEW, DATABASE, False, [DATABASE]),
        (IS_NEW, DATABASE, True, []),
        (IS_NEW, None, False, []),
        (None, DATABASE, False, []),
    ],
    ids=["new", "new, in a preview", "new, of no known database", "hears of all"],
)
def test_the_first_run_of_a_guard_takes_its_snapshot_before_anything_changes(
    reason: str | None, known: str | None, taken: list[str], *, in_preview: bool
) -> None:
    heard = Heard()
    acts = list[str]()
    preview = SimpleNamespace(first_up=None, in_state=None) if in_preview else None

    async def carried_out(act: str, inputs: Any, *_: object) -> None:
        acts.append(act)
        heard.guarded_by.append(inputs.database_id)

    async def run() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_result(known)
        guard: Any = object.__new__(Guard)
        vars(guard).update(
            _chosen=[CHOSEN_ALL],
            _preview=preview,
            _known=future,
            _state=SimpleNamespace(guardable=[URN], unhooked=lambda *_: reason),
            _messages=heard,
            _inputs=GuardInputs,
            _carry_out=carried_out,
        )
        assert await guard._prepare() == known

    asyncio.run(run())
    assert heard.guarded_by == taken
    assert acts == ["before_all"] * len(taken)
    if preview is not None:
        assert vars(preview) == {"first_up": reason, "in_state": [URN]}


def test_a_resource_with_a_hook_is_registered_after_the_first_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def registers() -> None:
        pass

    def hook_of(name: str, *_: object) -> SimpleNamespace:
        return SimpleNamespace(name=name, _registered=registers())

    monkeypatch.setattr(pulumi, "ResourceHook", hook_of)

    async def run() -> None:
        taken = asyncio.Event()
        guard: Any = object.__new__(Guard)
        guard._ready = asyncio.ensure_future(taken.wait())
        hook: Any = guard._hook("Guard guard: before update", "before", "update")
        for _ in range(10):
            await asyncio.sleep(0)
        assert not hook._registered.done()
        taken.set()
        await hook._registered

    asyncio.run(run())


def test_a_preview_reads_the_ledger_once_for_all_changes() -> None:
    read = list[object]()
    guard: Any = object.__new__(Guard)
    vars(guard).update(
        _database_id=DATABASE,
        _has_learned=False,
        _inputs=GuardInputs,
        _of_book=read.append,
    )
    preview: Any = SimpleNamespace(show=lambda *_: None)
    for change in CHANGES:
        guard._foresee(preview, change, URN, None)
    assert len(read) == 1


@pytest.mark.parametrize("pin", ["1", None])
def test_the_way_back_by_a_value_warns_of_a_newer_snapshot(
    monkeypatch: pytest.MonkeyPatch, pin: str | None
) -> None:
    warned = list[str]()
    answers = iter(["the last one", "another client has taken a newer one"])
    monkeypatch.setattr(declaration, "late", lambda _: lambda *_: "the newest one")
    monkeypatch.setattr(declaration, "warn_once", warned.append)
    monkeypatch.setattr(declaration, "run_of_program", lambda: "run")
    guard: Any = object.__new__(Guard)
    vars(guard).update(
        _name="guard",
        _owner="shop/dev/guard",
        _of_book=lambda _use, **_: next(answers),
    )
    assert guard._last(DATABASE, pin) == "the last one"
    told = ["Guard 'guard': another client has taken a newer one"]
    assert warned == (told if pin else [])


def test_a_part_that_has_the_hooks_already_gets_no_second_ones() -> None:
    name = "Guard guard: before update"
    guard: Any = object.__new__(Guard)
    vars(guard).update(
        _hooks={("before", "update"): SimpleNamespace(name=name)}, _pickers=[None]
    )
    hooks = SimpleNamespace(before_update=[SimpleNamespace(name=name)])
    part = SimpleNamespace(
        type_="servers:index:Server",
        name="part",
        custom=True,
        opts=SimpleNamespace(hooks=hooks),
    )
    assert guard._at_foreign_resource(part) is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_guard_that_hears_of_all_shares_its_snapshot_with_snapshots(
    *, whole: bool
) -> None:
    guard: Any = object.__new__(Guard)
    vars(guard).update(
        _program=SimpleNamespace(once=OncePerRun("run")),
        _owner="shop/dev/guard",
        _changes=CHANGES,
        _chosen={CHOSEN_ALL} if whole else {"app"},
    )
    assert guard._once().whole == ({"shop/dev/guard"} if whole else set())


@pytest.mark.parametrize("in_preview", [True, False])
def test_a_preview_keeps_no_answer_to_a_value_of_a_roll_back(
    monkeypatch: pytest.MonkeyPatch, *, in_preview: bool
) -> None:
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: in_preview)
    kept = list[bool]()

    def of_book(_use: object, *, writes: bool = False) -> None:
        kept.append(writes)

    guard: Any = object.__new__(Guard)
    vars(guard).update(_owner="shop/dev/guard", _of_book=of_book)
    guard._last(DATABASE, "1")
    guard._last(DATABASE, None)
    assert kept == [not in_preview, False]


@pytest.mark.parametrize("change", CHANGES)
def test_guards_that_are_off_let_a_change_pass_and_say_so(change: str) -> None:
    heard = Heard()
    happen(change, heard, setting="off")
    assert heard.guarded_by == []
    (shown,) = heard.shown
    assert f"the {change} of Server app has no snapshot" in shown


@pytest.mark.parametrize("known", [None, OTHER_DATABASE])
def test_a_drill_of_a_preview_does_not_need_the_database_of_each_guard(
    known: str | None,
) -> None:
    async def future() -> str | None:
        return known

    program = Program()
    program.note_guard("Guard 'own'", DATABASE)
    guard: Any = ("Guard 'of another'", SimpleNamespace(future=future))
    program._guarded.append(guard)
    asyncio.run(program._learn_guarded("Drill 'proof'"))
    assert program._uses.user_of(DATABASE) == "Guard 'own'"
    other = program._uses.user_of(OTHER_DATABASE)
    assert other == (known and "Guard 'of another'")
