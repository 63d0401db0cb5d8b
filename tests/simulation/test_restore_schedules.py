"""Random schedules of one Restore with ups, ^C and kill -9, and random services and faults.

`SCHEDULES=5000 pytest tests/simulation/test_restore_schedules.py` runs more of them. A failure prints how to replay it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from pulumi_snapshots.restore.restore import NOTHING_BEGAN
from pulumi_snapshots.service.errors import RestoreFailed, SquareCloudError
from tests.simulation.restore_services import (
    APART,
    HOUR,
    MINUTE,
    POST_FAULTS,
    QUICK,
    SERVICE,
    STATUS_FAULTS,
    may_have_been_carried_out,
    plant,
)
from tests.support.restoring import RestoreEnding, Scene, scene
from tests.support.schedules import schedules
from tests.support.virtual import run_virtual
from tests.support.world import DATABASE

if TYPE_CHECKING:
    from pulumi_snapshots.restore.record import RestoreRecord
    from squarecloud_emulator import JournalEntry
    from squarecloud_emulator.service.resources import Restore

RIGHT_BEFORE = 1.0
"""Seconds from a restore of somebody else to our run. It fails, since after a success ours waits. What the service says of it
before our POST shows that it is not ours."""
CODES = st.sampled_from([None, None, None, "SNAPSHOT_CORRUPT", "RESTORE_INTERRUPTED", "SOMETHING_NEW"])


@dataclass(frozen=True)
class Step:
    """One run.

    Attributes:
        ends: how it ends: by itself (`up`), or by `^C` or `kill -9` after some seconds.
        after: these seconds.
        new_triggers: whether the user has changed the triggers.
        timeout: seconds for the restore.
        post_fault: the fault of the POST.
        status_fault: the fault of the database's status, and of the restore's.
        fails: the code with which the next restore fails after it was accepted; None if it does not.
        others: seconds before this run at which somebody else restores the database; None for never.
        pause: seconds until the next run.
    """

    ends: str
    after: float
    new_triggers: bool
    timeout: float
    post_fault: dict[str, Any] | None
    status_fault: dict[str, Any] | None
    fails: str | None
    others: float | None
    pause: float


STEPS = st.lists(
    st.builds(
        Step,
        ends=st.sampled_from(["up", "up", "^C", "kill -9"]),
        after=st.sampled_from([0.5, 10.0, 45.0, 100.0, 130.0, 400.0]),
        new_triggers=st.sampled_from([False, False, False, True]),
        timeout=st.sampled_from([MINUTE, 5 * MINUTE, 15 * MINUTE]),
        post_fault=POST_FAULTS,
        status_fault=STATUS_FAULTS,
        fails=CODES,
        others=st.sampled_from([None, None, None, APART, RIGHT_BEFORE]),
        pause=st.sampled_from([0.0, 70.0, HOUR, 3 * HOUR]),
    ),
    min_size=1,
    max_size=7,
)


@dataclass
class Deployment:
    """A stack with one Restore.

    Attributes:
        at: the service.
        record: what the state holds.
        triggers: the current triggers, as a number.
        made: the triggers of the record.
        sent: the triggers for which a request was sent that may have been carried out.
        text: what the application has written since the restore ended; empty if nothing.
        number: the number of the last text.
        started: every restore that the service has started, in order.
        truth: what became of the POSTs for these triggers: the restore that each started, None if that is not certain.
        posts: the triggers of each POST by its number in the journal; None for somebody else's.
        matched: the numbers of the POSTs whose restores are known.
    """

    at: Scene
    record: RestoreRecord | None = None
    triggers: int = 0
    made: int = 0
    sent: set[int] = field(default_factory=set)
    text: str = ""
    number: int = 0
    started: list[Restore] = field(default_factory=list)
    truth: dict[int | None, Restore | None] = field(default_factory=dict)
    posts: dict[int, int | None] = field(default_factory=dict)
    matched: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        account = self.at.here.emulator.account
        start = account.start_restore

        def recorded(*args: Any) -> Restore:
            self.started.append(start(*args))
            return self.started[-1]

        account.start_restore = recorded  # type: ignore[assignment, method-assign]

    @property
    def has_status(self) -> bool:
        """Whether the service says how a restore stands."""
        return self.at.here.emulator.settings.restore_status_route == "there"

    async def play(self, step: Step) -> None:
        at, emulator = self.at, self.at.here.emulator
        emulator.clear_faults()
        if step.others is not None:
            await self._others_restore(step.others if step.status_fault is None else APART)
        # Without the status nothing tells a failure from a success, as documented.
        emulator.databases[DATABASE].next_restore_error = step.fails if self.has_status else None
        plant(emulator, step.post_fault, step.status_fault)
        if step.new_triggers:
            self.triggers += 1
            self.text = ""  # a restore with the new triggers may overwrite it, even after the end of this step
        before = list(at.posts)
        ending = await self._run(step)
        new = at.posts[len(before) :]
        self._learn_truth(new)
        if self.triggers in self.sent:
            assert not new, "a second request for the same triggers"
        if any(map(may_have_been_carried_out, new)):
            self.sent.add(self.triggers)
        if ending is not None:
            self._check_record(ending, sent=bool(new))
        await at.here.clock.sleep(step.pause)
        self._check_rows()

    async def _run(self, step: Step) -> RestoreEnding | None:
        """Run the next `up`; None if it was killed, or had nothing to do."""
        at = self.at
        resumes = self.record is not None and self.made == self.triggers and not self.record.failure
        if resumes and self.record is not None and not self.record.pending:
            return None
        chosen: dict[str, Any] = {"triggers": [f"v{self.triggers}"], "timeout": step.timeout}
        if step.ends == "kill -9":
            return None if resumes else await at.killed(step.after, **chosen)
        session = at.process()
        operation = (
            at.resume(self.record, session, **chosen) if resumes and self.record else at.restore(session, **chosen)
        )
        if step.ends == "up":
            return await operation
        return await at.here.meanwhile(step.after, session.stop, operation)

    async def _others_restore(self, seconds: float) -> None:
        """Somebody else restores the database, clearly later than what we may have sent: the service does not say whose it shows."""
        at = self.at
        if any((at.here.emulator.now() - post.at).total_seconds() < APART for post in at.posts):
            return
        before = len(at.posts)
        if seconds == RIGHT_BEFORE:
            at.here.emulator.databases[DATABASE].next_restore_error = "RESTORE_INTERRUPTED"
        with suppress(SquareCloudError):
            await at.somebody_restores(at.stored)
        self._learn_truth(at.posts[before:], ours=False)
        self.text = ""
        await at.here.clock.sleep(seconds)

    def _learn_truth(self, new: list[JournalEntry], *, ours: bool = True) -> None:
        """Note which restores our POSTs have started; some start theirs much later."""
        self.posts.update({post.number: self.triggers if ours else None for post in new})
        entries = [post for post in self.at.posts if post.accepted]
        accepted = [self.posts[post.number] for post in entries if post.number not in self.matched]
        self.matched |= {post.number for post in entries}
        restores = self.started[len(self.started) - len(accepted) :] if accepted else []
        for triggers, restore in zip(accepted, restores, strict=True):
            self.truth[triggers] = restore if len(accepted) == 1 else None

    def _check_truth(self, ending: RestoreEnding) -> None:
        """A restore that failed is never taken for a done one, nor the other way round, if the service tells them apart."""
        if not self.has_status:
            return
        self.at.here.emulator.settle()
        if self.triggers not in self.truth:
            failed = isinstance(ending.error, RestoreFailed) and "was requested at" in str(ending.error)
            assert ending.how != "complete", f"another's restore was taken for ours: {ending.text}"
            assert not failed, f"another's failure was taken for ours: {ending.text}"
            return
        restore = self.truth[self.triggers]
        if restore is None:
            return
        if ending.how == "complete":
            assert not restore.in_progress, ending.text
            assert restore.error is None, ending.text
        elif isinstance(ending.error, RestoreFailed):
            assert not restore.in_progress, ending.text
            assert restore.error is not None, ending.text

    def _check_record(self, ending: RestoreEnding, *, sent: bool) -> None:
        at = self.at
        self._check_truth(ending)
        proved_unsent = NOTHING_BEGAN in ending.text
        assert not (proved_unsent and self.triggers in self.truth), f"it was carried out: {ending.text}"
        if isinstance(ending.error, RestoreFailed) or proved_unsent:
            self.sent.discard(self.triggers)  # the next run may send it again
            self.truth.pop(self.triggers, None)
        # What only a killed run has sent is in the ledger, and this run may have ended before it saw how that stands.
        if self.triggers in self.sent and (sent or (self.record is not None and self.made == self.triggers)):
            assert ending.record is not None, f"a request that may have been carried out was dropped: {ending.text}"
        if ending.record is None:
            return
        self.record, self.made = ending.record, self.triggers
        if ending.how == "complete" and self._is_quiet():
            if self.triggers in self.sent and not self.text:
                assert at.holds() == "then", ending.text
            self.number += 1
            self.text = f"later {self.number}"
            at.writes(self.text)

    def _check_rows(self) -> None:
        """Check that the application's rows stay after the restore, until the triggers change."""
        if self.record is None or self.record.pending or self.made != self.triggers or not self._is_quiet():
            self.text = ""
        elif self.text:
            assert self.at.holds() == self.text

    def _is_quiet(self) -> bool:
        """Whether no request and no restore is under way."""
        self.at.here.emulator.settle()
        databases = self.at.here.emulator.databases.values()
        return all(post.answered_at is not None for post in self.at.posts) and not any(
            self.at.here.emulator.account.restoring(one.id) for one in databases
        )


PLAIN = Step("up", 0.5, False, 15 * MINUTE, None, None, None, None, 0.0)  # noqa: FBT003  by the order of the fields
LOST = replace(PLAIN, post_fault={"drop": True})


# Rare by chance: the service shows a restore of somebody else from long before ours, from right before it, or from after it.
@example(service=QUICK, steps=[replace(LOST, others=APART)])
@example(service=QUICK, steps=[replace(LOST, others=RIGHT_BEFORE)])
@example(service=QUICK, steps=[replace(LOST, pause=HOUR), replace(PLAIN, others=APART)])
@schedules(100)
@given(service=SERVICE, steps=STEPS)
def test_a_restore_acts_once_and_an_unknown_result_is_kept(service: dict[str, Any], steps: list[Step]) -> None:
    async def body() -> None:
        async with scene(**service) as at:
            stack = Deployment(at)
            for step in steps:
                await stack.play(step)

    run_virtual(body)
