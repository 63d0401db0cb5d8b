"""What must be true of a command `guard`: nothing changes behind a snapshot that does not guard it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.cli.snapshots.guard import NOT_RUN
from pulumi_snapshots.guard.inputs import DEFAULT_REUSE
from pulumi_snapshots.properties.checks import parse_duration
from tests.simulation.books import SLACK
from tests.simulation.commands import Command, GuardedChange
from tests.support.inside import Computer

if TYPE_CHECKING:
    from tests.simulation.stories import Story

SHOWN = timedelta(hours=1)
"""For how long the service shows the last restore."""


class GuardedRun:
    """One command `guard`, which changes its database for a while, and may fail."""

    def __init__(
        self, story: Story, computer: Computer, arguments: Sequence[str]
    ) -> None:
        chance = story.chance
        self._story = story
        self._database = arguments[1]
        self._ledger = computer.memory
        self._longest = max(
            _seconds_of("--timeout", arguments),
            _seconds_of("--reuse-within", arguments, DEFAULT_REUSE),
        )
        self.change = GuardedChange(
            seconds=chance.choice([1.0, 30.0, 600.0]),
            ends_with=chance.choice([0, 0, 0, 7]),
            begins=self._begin,
        )
        self._has_begun = False

    def _begin(self, guards: list[str]) -> None:
        """Check the snapshots that the command is told, when it begins."""
        self._has_begun = True
        story = self._story
        assert len(guards) == 1, f"the command is told {guards}"
        database, _, version = guards[0].partition("/")
        assert database == self._database, f"{guards} guards {self._database}"
        stored = {one.version_id for one in story.emulator.snapshots(database)}
        assert version in stored, f"{guards} guards, and the service has {stored}"
        taken = self._requested_at(version)
        story.say(f"   the command runs, guarded by {version} of {taken:%d %H:%M:%S}")
        self._check_age(taken)

    def _requested_at(self, version: str) -> datetime:
        """When a snapshot was requested; of somebody else's, when it was taken."""
        for post in self._story.sent("create"):
            if post.accepted and post.version_id == version:
                return post.at
        stored = self._story.emulator.account.version(version)
        assert stored is not None
        return stored.modified

    def _check_age(self, taken: datetime) -> None:
        """Check that a snapshot is neither too old nor from before another change."""
        story = self._story
        now = story.emulator.now()
        slack = timedelta(seconds=SLACK)
        if taken < now - timedelta(seconds=self._longest) - slack:
            story.fail("old guard", f"a guard's snapshot is of {taken:%d %H:%M:%S}")
        changed = story.changed_at.get((self._ledger, self._database), taken)
        if taken < changed - slack:
            story.fail("old guard", f"a change of {changed:%d %H:%M:%S} came since")
        if not story.tells_restores:
            return
        for post in story.sent("restore"):
            is_shown = post.at > max(taken + slack, now - SHOWN)
            if post.accepted and post.database_id == self._database and is_shown:
                restored = f"{post.at:%d %H:%M:%S}"
                story.fail("old guard", f"a restore of {restored} came since")

    def check_end(self, command: Command) -> None:
        """Check the exit code, and note what has changed."""
        if command.code is None:
            return
        errors = command.err.getvalue()
        if not self._has_begun:
            assert command.code == NOT_RUN, f"exit {command.code}: {errors}"
            return
        is_noted = "could not be noted" not in errors
        if is_noted:
            assert command.code == self.change.ends_with, errors
        if command.code == 0:
            now = self._story.emulator.now()
            self._story.changed_at[self._ledger, self._database] = now


def _seconds_of(option: str, arguments: Sequence[str], default: float = 0.0) -> float:
    """What was typed for an option, in seconds."""
    if option not in arguments:
        return default
    typed = arguments[arguments.index(option) + 1]
    return parse_duration(typed)
