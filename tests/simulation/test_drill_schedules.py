"""Random schedules of one Drill with ups, ^C, kill -9, states that are not saved, machines, and random services and faults.

`SCHEDULES=5000 pytest tests/simulation/test_drill_schedules.py` runs more of them. A failure prints how to replay it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace as Step
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, example, given, register_random, settings
from hypothesis import strategies as st
from trio._core._run import _r as task_order

from pulumi_snapshots.drill.drill import DrillFailed
from pulumi_snapshots.restore.restore import NOTHING_BEGAN
from pulumi_snapshots.run.calls import Unfinished
from pulumi_snapshots.service.errors import SquareCloudError
from squarecloud_emulator import Fault
from tests.simulation.faults import BROKEN, DOUBTS, NEW_CODES, REFUSALS
from tests.support.drilling import SCRATCH, drill_scene
from tests.support.virtual import run_virtual

if TYPE_CHECKING:
    from squarecloud_emulator import JournalEntry
    from tests.support.drilling import DrillScene

# Trio wakes tasks that are due together in random order. Hypothesis's seed decides it, so that a failure can be replayed.
register_random(task_order)
REQUESTED = os.environ.get("SCHEDULES")
"""How many schedules; without it they are the same few at each run, so that a failure comes from a change of the code."""
MINUTE, HOUR = 60.0, 3600.0
APART = 130.0
"""Seconds between our POST and a later restore of somebody else: closer together, the service does not tell them apart."""
SERVICE = st.fixed_dictionaries(
    {
        "restore_seconds": st.sampled_from([0.0, 5.0, 45.0, 60.0, 200.0, 1500.0]),
        "restore_holds": st.booleans(),
        "restore_queue_seconds": st.sampled_from([0.0, 0.0, 0.0, 100.0, 400.0]),
        "restore_stops_database": st.booleans(),
        "restore_tail_seconds": st.sampled_from([0.0, 120.0, 120.0, 200.0]),
        "restore_status_route": st.sampled_from(["there", "there", "there", "404", "405"]),
        "refusals_start_cooldown": st.booleans(),
        "clock_offset_seconds": st.sampled_from([0.0, 0.7, -20.0, HOUR, -HOUR]),
    }
)
POST_FAULTS = st.sampled_from(
    [
        None,
        *({**fault, "times": times} for fault in REFUSALS for times in (1, 3)),
        *({**fault, "when": when} for fault in DOUBTS for when in ("before", "after")),
        *NEW_CODES,
        *BROKEN,
    ]
)
STATUS_FAULTS = st.sampled_from(
    [
        None,
        *({**fault, "times": times, "skip": skip} for fault in DOUBTS for times in (1, 6) for skip in (0, 2)),
        *({"html": 404, "skip": skip} for skip in (0, 1, 3)),
        {"status": 401, "code": "ACCESS_DENIED", "skip": 1},
        {"delay": 40.0, "times": 3},
    ]
)
QUICK: dict[str, Any] = {
    "restore_holds": False,
    "restore_tail_seconds": 0.0,
    "restore_status_route": "there",
}


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "ends": st.sampled_from(["up", "up", "^C", "kill -9"]),  # by itself, or after some seconds
    "after": st.sampled_from([0.5, 10.0, 45.0, 100.0, 130.0, 200.0, 400.0]),
    "saves": st.sampled_from([True, True, True, False]),  # whether the engine can save what the provider answers
    "another": st.sampled_from(["", "", "", "triggers", "snapshot"]),  # what the user has changed
    "timeout": st.sampled_from([MINUTE, 5 * MINUTE, 30 * MINUTE]),
    "post_fault": POST_FAULTS,  # of the restore's POST
    "status_fault": STATUS_FAULTS,  # of the database's status, and of the restore's
    "fails": st.sampled_from([None, None, None, "SNAPSHOT_CORRUPT", "RESTORE_INTERRUPTED"]),  # the next restore
    "refuses": st.sampled_from([0, 0, 3, 100]),  # connections
    "seconds": st.sampled_from([0.0, 0.0, 20.0, 100.0]),  # that each check takes
    "expects": st.sampled_from([True, True, False]),  # whether the check expects what is in the snapshot
    "warns": st.booleans(),  # whether a failure only warns
    "others": st.sampled_from([False, False, False, True]),  # whether somebody else restores the database before
    "moves": st.booleans(),  # whether another machine runs it, which shares the ledger
    "pause": st.sampled_from([0.0, 70.0, HOUR, 3 * HOUR]),  # until the next run
}
"""One run."""
STEPS = st.lists(st.builds(Step, **FIELDS), min_size=1, max_size=6)


def plain(**changes: Any) -> Step:
    """A run in which nothing happens but these."""
    usual = {name: None if "fault" in name or name == "fails" else 0 for name in FIELDS}
    return Step(**{**usual, "ends": "up", "saves": True, "timeout": 30 * MINUTE, "expects": True, **changes})


@dataclass
class Deployment:
    """A stack with one Drill.

    Attributes:
        at: the service.
        triggers: the current triggers, as a number.
        number: of the snapshot that the program names.
        sent: the drills whose restore may have been carried out, by snapshot and triggers.
        good: the last drill that the state has had as good.
    """

    at: DrillScene
    triggers: int = 0
    number: int = 0
    sent: set[tuple[int, int]] = field(default_factory=set)
    good: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """What the rows of the snapshot say."""
        return f"then {self.number}" if self.number else "then"

    async def play(self, step: Step) -> None:
        at, emulator = self.at, self.at.at.here.emulator
        emulator.clear_faults()
        if step.another == "triggers":
            self.triggers += 1
        elif step.another == "snapshot":
            self.number += 1
            at.takes(f"then {self.number}")
        if step.moves:
            at.on_another_machine()
        if step.others:
            await self._others_restore()
        has_status = emulator.settings.restore_status_route == "there"
        emulator.databases[SCRATCH].next_restore_error = step.fails if has_status else None
        for kind, fault in (
            ("restore", step.post_fault),
            ("status", step.status_fault),
            ("restore status", step.status_fault),
        ):
            if fault is not None:
                emulator.add_fault(Fault(kind=kind, **fault))
        at.databases.refuses, at.databases.seconds = step.refuses, step.seconds
        before, began = len(at.at.posts), at.at.elapsed
        ended = await self._run(step)
        key, new = (self.number, self.triggers), at.at.posts[before:]
        if key in self.sent:
            assert not new, f"a second restore for the same drill: {at.told}"
        if any(map(_may_have_been_carried_out, new)):
            self.sent.add(key)
        if ended:
            # If the scratch database was restored again since, the checks that were to be repeated become another drill.
            assert at.at.elapsed - began <= 2 * step.timeout + MINUTE, "it did not end by its time-out"
            self._check(step, key)
        await at.at.here.clock.sleep(step.pause)

    async def _run(self, step: Step) -> bool:
        """Run the next `up`; false if it was killed."""
        at = self.at
        chosen: dict[str, Any] = {
            "triggers": [f"v{self.triggers}"],
            "timeout": step.timeout,
            "on_failure": "warn" if step.warns else "error",
            "checks": [{"query": "select state from rows", "equals": self.text if step.expects else "something else"}],
        }
        if step.ends == "kill -9":
            return not await at.killed(step.after, **chosen)

        def interrupt() -> None:
            at.session.stop()  # of the process that runs by then

        up = at.up(saves=step.saves, **chosen)
        await (up if step.ends == "up" else at.at.here.meanwhile(step.after, interrupt, up))
        return True

    def _check(self, step: Step, key: tuple[int, int]) -> None:
        """Check what the run has ended with."""
        at = self.at
        error = at.stack.error.error if isinstance(at.stack.error, Unfinished) else at.stack.error
        outputs = at.stack.outputs
        if "failed: it could not be restored" in at.told or NOTHING_BEGAN in at.told:
            self.sent.discard(key)  # the next run may send it again
        if step.warns:
            assert not isinstance(error, DrillFailed), "it was to warn only"
        if not step.saves:
            return
        if self.good is not None:
            assert outputs.get("last_good"), "the last good drill was forgotten"
        if error is None and outputs["passed"]:
            assert outputs["version_id"] == at.at.stored.version_id
            assert [each["found"] for each in outputs["results"]] == [self.text]
            assert outputs["last_good"]["version_id"] == at.at.stored.version_id
        elif error is None:
            assert step.warns, "a drill that failed was taken for a good one"
        self.good = outputs.get("last_good", self.good)

    async def _others_restore(self) -> None:
        """Somebody else restores the scratch database, clearly apart from what we have sent: so whatever was there is lost."""
        at = self.at.at
        if any((at.here.emulator.now() - post.at).total_seconds() < APART for post in at.posts):
            return
        account = at.here.emulator.account
        before = account.last_restore(SCRATCH)
        with suppress(SquareCloudError):
            await at.somebody_restores(at.stored, SCRATCH)
        theirs = account.last_restore(SCRATCH)
        if theirs is not None and theirs is not before:  # one that has failed has overwritten it too
            self.sent.clear()
        await at.here.clock.sleep(APART)


def _may_have_been_carried_out(post: JournalEntry) -> bool:
    """Whether a POST may have started a restore: its answer was not a refusal."""
    known, status = post.code is not None and post.code != "SOMETHING_NEW", post.status or 0
    return not (post.answered_at is not None and (300 <= status < 400 or (known and 400 <= status < 500)))


@example(service={**QUICK, "restore_seconds": 5.0}, steps=[plain(), plain()])
@example(  # somebody else's restore fails, and has overwritten the scratch database all the same
    service={**QUICK, "restore_holds": True, "restore_stops_database": False},
    steps=[
        plain(timeout=MINUTE),
        plain(timeout=MINUTE, fails="SNAPSHOT_CORRUPT", pause=70.0),
        plain(timeout=MINUTE, others=True),
    ],
)
@settings(
    max_examples=int(REQUESTED or 60),
    derandomize=REQUESTED is None,
    deadline=None,  # it would be real time, which is not tested
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(service=SERVICE, steps=STEPS)
def test_a_drill_restores_once_and_never_forgets_its_last_proof(service: dict[str, Any], steps: list[Step]) -> None:
    async def body() -> None:
        async with drill_scene(**service) as at:
            stack = Deployment(at)
            for step in steps:
                await stack.play(step)

    run_virtual(body)
