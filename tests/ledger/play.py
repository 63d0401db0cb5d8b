"""Plays stories of several runs, told as lines of moves, at an emulated service in virtual time."""

import ast
import math
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import anyio

from pulumi_snapshots.restore.difference import RestoreRules
from pulumi_snapshots.run.calls import EngineCall, Unfinished
from pulumi_snapshots.run.memory import PENDING, id_at
from pulumi_snapshots.snapshot.difference import SnapshotRules
from tests.support.clocks import Shifted
from tests.support.engine_calls import Machine, Stack
from tests.support.failing import flat
from tests.support.memory import Memory
from tests.support.restoring import RESTORER, Scene, scene
from tests.support.world import DATABASE, OWNER, World

TIMES = ("killed", "lost", "within")
UNSAVED = "by an earlier run that may not have saved its state"


def of(here: World) -> Stack:
    return Stack(SnapshotRules(), Machine(here), OWNER)


def back(at: Scene) -> Stack:
    return Stack(RestoreRules(), Machine(at.here), RESTORER)


def given(at: Scene, **changes: Any) -> dict[str, Any]:
    stored = at.stored
    usual = {
        "version_id": stored.version_id,
        "name": stored.name,
        "runtime": stored.runtime,
        "overwrite": True,
    }
    return {"database_id": DATABASE, **usual, **changes}


def accepted(here: World) -> list[str | None]:
    return [post.version_id for post in here.posts if post.accepted]


class Play:
    """A story's stacks and machines.

    `S` is a Snapshot and `R` a Restore; `S.name` another one of its stack, `S@stack` the same one of another stack. Each `up`
    is a new process on one machine, with its triggers first, and ends well and without a warning unless `pending`, `refused` or
    `killed` follows, or after a colon what it says, in parts between `&`; `theirs` are the snapshots that somebody has taken.
    `within` is the most seconds that it may take, `lost` when the machine's ledger vanishes. A `late` one is killed before an engine saves that saves at the end only, as
    with `PULUMI_SKIP_CHECKPOINTS`.
    """

    def __init__(self, at: Scene) -> None:
        self.at = at
        self.machine = self.new_machine()
        self.stacks: dict[str, Stack] = {}
        self.kept: dict[str, tuple[str, dict[str, Any]]] = {}
        self.theirs: list[str] = []

    def stack(self, who: str) -> Stack:
        if who not in self.stacks:
            resource, _, stack = who.partition("@")
            kind, _, name = resource.partition(".")
            urn = (OWNER if kind == "S" else RESTORER).replace(":dev:", f":{stack or 'dev'}:")
            urn = f"{urn.rpartition('::')[0]}::{name}" if name else urn
            rules = SnapshotRules() if kind == "S" else RestoreRules()
            self.stacks[who] = Stack(rules, self.machine, urn)
        return self.stacks[who]

    def new_machine(self, *, place: Memory | None = None, api_key: str | None = None) -> Machine:
        return Machine(self.at.here, place, Shifted(self.at.here.clock), api_key)

    async def move(self, line: str) -> None:  # noqa: C901, PLR0912, PLR0915  a case for each move
        line, _, text = line.partition(": ")
        match line.split():
            case ["wait", seconds]:
                await anyio.sleep(float(seconds))
            case ["rows", "change"]:
                self.at.writes("later")
            case ["rows", state]:
                assert self.at.holds() == state
            case ["somebody", "takes", *minutes]:
                here, since = self.at.here, timedelta(minutes=sum(map(float, minutes)))
                at = (here.posts[0].at if minutes and here.posts else here.emulator.now()) + since
                self.theirs.append(here.emulator.add_snapshot(DATABASE, modified=at).version_id)
            case ["somebody", "restores"]:
                await self.at.somebody_restores(self.at.stored)
            case ["the", "next", "restore", "fails", code]:
                self.at.here.emulator.databases[DATABASE].next_restore_error = code
            case ["the", "next", "fails"]:
                self.at.here.emulator.fail_next_snapshot(DATABASE)
            case ["accepted", number]:
                assert len(accepted(self.at.here)) + len(self.at.accepted) == int(number)
            case ["sent", number]:
                assert len(self.at.here.posts) + len(self.at.posts) == int(number)
            case [who, "up", *how]:
                await self.up(self.stack(who), how, text)
            case [who, "preview", *triggers]:
                await self.stack(who).preview(**self.values(self.stack(who), triggers))
            case [who, "refresh"]:
                self.stack(who).begin()
                await self.stack(who).read()
            case [who, "destroy", *how]:
                before = self.machine.memory.writes
                await self.stack(who).destroy()
                assert how != ["unwritten"] or self.machine.memory.writes == before
            # Calls of one process
            case [who, "begins", *of]:
                self.stack(who).begin()
                self.stack(who).shared = self.stack(of[-1] if of else who).shared
            case [who, "reads"]:
                await self.stack(who).read()
            case [who, "compares"]:
                await self.stack(who).check(self.values(self.stack(who), []), in_state=True)
                await self.stack(who).diff(self.values(self.stack(who), []))
            case [who, "deletes", *how]:
                stack = self.stack(who)
                call = stack._call()
                if how:
                    call = EngineCall(
                        stack.urn,
                        lambda: replace(self.at.here.session.settings, api_key=None),
                        call.shared,
                        stack.row,
                    )
                await stack.rules.delete(call, stack.id, stack.outputs)
                stack.id, stack.outputs = "", {}
            case ["the", "ledger", *how]:
                self.machine.memory.refuses_reads = "SlowDown" if how == ["fails"] else ""
            case [who, "keeps", "its", "checkpoint"]:
                self.kept[who] = self.stack(who).id, dict(self.stack(who).outputs)
            case [who, "imports", what]:
                self.stack(who).id, self.stack(who).outputs = (
                    self.kept[who] if what == "it" else ("", {})
                )
            case [who, "moves", *shares]:
                stack = self.stack(who)
                stack.machine = self.new_machine(place=stack.machine.place if shares else None)
            case [who, "joins", other]:
                self.stack(who).machine = self.stack(other).machine
            case [who, "clock", seconds]:
                vars(self.stack(who).machine.clock).update(ahead=float(seconds))
            case ["fault", kind, *effects]:
                self.at.here.fault(kind=kind.replace("_", " "), **facts_in(effects))
            case ["mend"]:
                self.at.here.emulator.clear_faults()
            case ["it", "is", "over", seconds]:
                assert self.at.elapsed > float(seconds)
            case ["the", "key", "rotates"]:
                key = "rotated" * 9
                self.at.here.emulator.settings = replace(
                    self.at.here.emulator.settings, api_key=key
                )
                for stack in self.stacks.values():
                    stack.machine = self.new_machine(place=self.machine.place, api_key=key)
            case [who, "comes", "back"]:
                self.stack(who).machine = self.machine
            case [who, "becomes", urn]:
                self.stack(who).urn = urn
            case [who, "has", "theirs"]:
                assert self.stack(who).outputs["version_id"] == self.theirs[-1]
            case [who, "has", number]:
                assert (
                    self.stack(who).outputs["version_id"] == accepted(self.at.here)[int(number) - 1]
                )
            case [who, "has", "the", "first"]:
                assert self.stack(who).outputs["requested_at"] == "2026-03-01T12:00:00Z"
            case [who, "is", "undecided"]:
                assert getattr(getattr(self.stack(who).error, "error", None), "undecided", False)
            case [who, "is", "proved"]:
                assert all(each.proved for each in await self.stack(who).session.ledger.attempts())
            case _:
                raise AssertionError(line)

    def values(self, stack: Stack, how: list[str]) -> dict[str, Any]:
        options: dict[str, Any] = dict(each.split("=") for each in how if "=" in each)
        options = {name: value for name, value in options.items() if name not in TIMES}
        triggers = [each for each in how if each.startswith("v")]
        options |= {"triggers": triggers} if triggers else {}
        return (
            given(self.at, **options)
            if stack.rules.kind == "restore"
            else {"database_id": DATABASE, **options}
        )

    async def up(self, stack: Stack, how: list[str], text: str) -> None:
        engine: dict[str, Any] = {
            each: True for each in ("replace", "trigger", "cascade", "first", "late") if each in how
        }
        engine |= {"cascade": "apart"} if "apart" in how else {}
        up = partial(
            stack.up, saves=not {"unsaved", "late"} & set(how), **engine, **self.values(stack, how)
        )
        seconds = {
            each[0]: float(each[1])
            for each in (word.split("=") for word in how)
            if each[0] in TIMES
        }
        if "killed" in seconds:
            async with anyio.create_task_group() as process:
                process.start_soon(up)
                await anyio.sleep(seconds["killed"])
                stack.session.ledger.place.killed = True  # type: ignore[attr-defined]
                process.cancel_scope.cancel()
            return
        began = self.at.elapsed
        work = up()
        if "lost" in seconds:
            work = self.at.here.meanwhile(
                seconds["lost"], lambda: vars(self.machine.memory).update(data=None), work
            )
        await work
        assert self.at.elapsed - began <= seconds.get("within", math.inf)
        told = "".join(stack.row.warnings)
        if "refused" in how:
            assert stack.error is not None
            told = flat(stack.row.wording.told(stack.error))
        elif "pending" in how:
            assert isinstance(stack.error, Unfinished)
            told += flat(stack.row.wording.told(stack.error.error))
            moment = stack.outputs.get("requested_at")
            assert (
                stack.rules.kind == "restore"
                or moment is None
                or stack.id == id_at(DATABASE, PENDING, moment)
            )
        else:
            assert stack.error is None
        says = {each: each in told for each in text.split(" & ")} | {
            "theirs": all(each in told for each in self.theirs)
        }
        assert all(says[each] for each in text.split(" & ")) if text else not stack.row.warnings, (
            told
        )


def facts_in(words: list[str]) -> dict[str, Any]:
    """What `name=value` says, with numbers and the like as such."""

    def read(value: str) -> Any:
        try:
            return ast.literal_eval(value)
        except ValueError:
            return value

    return {name: read(value) for name, _, value in (each.partition("=") for each in words)}


async def play(story: str) -> None:
    """Play the moves of a story; the first may be settings of the service."""
    moves = " ".join(story.split()).split("; ")
    options: dict[str, Any] = {"snapshot_seconds": 10, "cache_world": "invalidated"}
    if moves[0].startswith("service "):
        options |= facts_in(moves.pop(0).split()[1:])
    async with scene(**options) as at:
        stage = Play(at)
        for move in filter(None, moves):
            await stage.move(move)
