"""A user takes the way out that a message names, and gets what it promises in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pulumi_snapshots.cli.terminal.wording import COMMAND_STEPS
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import HintKind
from squarecloud_emulator import JournalEntry
from tests.simulation.books import KINDS, SLACK, target_of
from tests.simulation.commands import Command
from tests.simulation.hints import Hint
from tests.simulation.model_engine import Declared, Held, Stack
from tests.simulation.up import Up

if TYPE_CHECKING:
    from tests.simulation.stories import Story

MINUTE = 60.0
WAY_OUT = 45 * MINUTE
"""Within which a way out keeps its promise."""
OTHER_TRIGGERS = 90 * MINUTE
"""Within which a plain `up` with other triggers ends well, whatever went wrong before."""
OLD_PAGE = 30 * MINUTE
"""How much longer a snapshot may stay unlisted, at a service that serves a page for so long."""
NEVER_SEEN = "squarecloud-snapshots explain never-seen"
"""The end of a message about a restore whose end no run will know."""
TOO_OLD = "With a --timeout of"
"""Of a message about a restore that the same command follows no longer without a longer time-out."""
WITHOUT_REUSE = COMMAND_STEPS[HintKind.GIVE_UP]
WITHOUT_KEEPING = COMMAND_STEPS[HintKind.RESTORE_UNKEPT]
OTHER_TRIGGERS_HELP = "with other triggers, or remove the Restore"
"""Of a message about a restore that has failed, and will fail again."""
PAUSE = MINUTE
"""Between two tries of the user."""
IF_IN_STATE = "If its state has it,"
"""Begins a hint that promises nothing for a resource that the state has not by this very URN."""


@dataclass(frozen=True)
class Taken:
    """A way out, and where it was named: by a run of a stack, or by a command."""

    hint: Hint
    stack: Stack | None
    command: Command | None

    @property
    def of_stack(self) -> Stack:
        """The stack, for those who know that there is one."""
        assert self.stack is not None
        return self.stack


async def take(story: Story, taken: Taken) -> None:
    """Type what a message names, and check that it does what it says."""
    hint = taken.hint
    named = _resource_of(taken)
    if hint.kind == "replace" and named is None:
        return  # the program calls it otherwise by now
    await story.calm(taken.stack)
    story.say(f"the user takes a way out: {hint.text}")
    if hint.kind == "command":
        await _type(story, hint.arguments, must_act=False)
    elif taken.command is not None:
        options = ("--json", "--quiet", "--new")
        typed = [each for each in taken.command.arguments if each not in options]
        await _type(story, [*typed, "--new"], must_act=True)
    elif named is not None:
        await _replace(story, taken.of_stack, named)
    else:
        await use_other_triggers(story, taken.of_stack, "way out", WAY_OUT)


def _resource_of(taken: Taken) -> Declared | None:
    """The resource that a hint names, if it can act: what it depends on is there."""
    if taken.stack is None:
        return None
    name = taken.hint.subject.rpartition("::")[2]
    for declared in taken.stack.declared():
        upstream = [taken.stack.find(each) for each in declared.needs]
        if declared.name == name and all(
            held and not held.unfinished for held in upstream
        ):
            promises = IF_IN_STATE not in taken.hint.text or is_shown(
                taken.stack, declared
            )
            return declared if promises else None
    return None


def is_shown(stack: Stack, declared: Declared) -> bool:
    """Whether a refresh reads it: not what was deleted to be made again, nor what another package reads under another URN."""
    held = stack.find(declared.name)
    return held is not None and not held.gone and held.way == stack.way


class Patience:
    """Counts how long a way out takes, from its beginning on."""

    def __init__(self, story: Story, invariant: str, within: float = WAY_OUT) -> None:
        keeps_pages = story.service["cache_world"] == "kept"
        self._story = story
        self._invariant = invariant
        self._within = within + (OLD_PAGE if keeps_pages else 0.0)
        self._began = story.now
        self._sent = len(story.emulator.journal)
        self.newer_holders = 0
        """How many requests others have sent since for the same database: each may be waited for, one after the other."""

    @property
    def posts(self) -> list[JournalEntry]:
        """What the service has accepted since."""
        return [
            entry
            for entry in self._story.emulator.journal[self._sent :]
            if entry.accepted
        ]

    async def is_over(self, what: str, errors: object) -> bool:
        """Whether the user has waited for long enough, which breaks the invariant; else pause before the next try."""
        took = self._story.now - self._began
        if took <= self._within + self.newer_holders * WAY_OUT:
            await asyncio.sleep(PAUSE)
            return False
        self._story.fail(
            self._invariant, f"{what} in {took / MINUTE:.0f} min: {errors}"
        )
        return True


async def use_other_triggers(
    story: Story, stack: Stack, invariant: str, within: float
) -> None:
    """Change the triggers and run plain `up`s until all has acted; it must have within so many seconds."""
    await story.calm(stack)
    story.change_triggers(stack)
    patience = Patience(story, invariant, within)
    errors = await story.up(stack, Up(preview=False))
    while errors:
        if await patience.is_over("other triggers do not help", errors):
            return
        errors = await story.up(stack, Up(preview=False))
    acted = [post.kind for post in patience.posts]
    if len(acted) < len(story.roles):
        story.fail("as new", f"of {story.roles} only {acted} act for other triggers")


async def _replace(story: Story, stack: Stack, declared: Declared) -> None:
    """Type `pulumi up --refresh --replace` until the resource is another one that is complete."""
    patience = Patience(story, "way out")
    what = f"--refresh --replace of {declared.name}"
    up = Up(replace=declared.role, refresh=True, preview=False)
    about = KINDS[declared.kind], target_of(declared.inputs)
    typed = story.emulator.now()
    while True:
        # A provider is not told of `--replace` if no state shows the resource: what no state had is
        # handed out then, and the next time it is replaced.
        is_unsaved = not is_shown(stack, declared)
        errors = await story.up(stack, up)
        posts = [
            post for post in patience.posts if (post.kind, post.database_id) == about
        ]
        held = stack.find(declared.name)
        is_another = bool(posts) and _is_requested_since(held, typed)
        if held is not None and is_another and not held.unfinished:
            return
        if is_another:
            up = Up(preview=False)  # it is pending, and is waited for
        elif not errors and not is_unsaved:
            story.fail("as new", f"{what} sends nothing")
            return
        elif is_unsaved and any(OTHER_TRIGGERS_HELP in error for error in errors):
            await use_other_triggers(story, stack, "way out", WAY_OUT)
            return
        # its own one too: what is sent late takes its time
        patience.newer_holders = len(posts)
        if await patience.is_over(f"{what} does not help", errors):
            return


def _is_requested_since(held: Held | None, typed: datetime) -> bool:
    """Whether what the state has was requested once the user had typed a command."""
    requested_at = None if held is None else held.plain.get("requested_at")
    if requested_at is None:
        return False
    return parse_rfc3339(requested_at) >= typed - timedelta(seconds=SLACK)


def with_timeout(arguments: list[str], timeout: str) -> list[str]:
    """The same command with another time-out."""
    arguments = [*arguments]
    if "--timeout" in arguments:
        arguments[arguments.index("--timeout") + 1] = timeout
    else:
        arguments += ["--timeout", timeout]
    return arguments


def without_reuse(arguments: list[str]) -> list[str]:
    """The same command without `--reuse-within`."""
    at = arguments.index("--reuse-within")
    return [*arguments[:at], *arguments[at + 2 :]]


def _waits_in_vain(story: Story, database_id: str) -> bool:
    """Whether the service has made nothing of the last snapshot that it accepted."""
    posts = [post for post in story.sent("create") if post.database_id == database_id]
    accepted = [post for post in posts if post.accepted]
    return bool(accepted) and story.books.failed(accepted[-1])


async def _type(story: Story, arguments: list[str], *, must_act: bool) -> None:
    """Type a command until it succeeds; `must_act` if it promises another snapshot or restore."""
    patience = Patience(story, "way out")
    while True:
        command = await story.command(*arguments)
        if command.code == 0:
            break
        if await patience.is_over(
            f"{command.typed} does not help", command.err.getvalue()
        ):
            return
        if command.posts:
            # It is pending, and is waited for; a short time-out would end too early each time.
            arguments = [each for each in arguments if each != "--new"]
            arguments = with_timeout(arguments, "45m")
        elif WITHOUT_REUSE in command.err.getvalue() and _waits_in_vain(
            story, arguments[1]
        ):
            # What it was to wait for never comes, and its message names what takes another one.
            arguments = without_reuse(arguments)
            patience = Patience(story, "way out")
        elif any(each in command.err.getvalue() for each in (NEVER_SEEN, TOO_OLD)):
            # No run will know how it ended, or it has been followed for long enough: its message names
            # what restores again.
            arguments = [*arguments, "--new"]
            patience = Patience(story, "way out")
        elif WITHOUT_KEEPING in command.err.getvalue():
            # Its database is down, and its message names what restores all the same.
            arguments = [*arguments, "--no-keep"]
            patience = Patience(story, "way out")
    if must_act and not patience.posts:
        story.fail("as new", f"{command.typed} sends nothing")
