"""The inputs of a guard, and the names by which the engine knows it.

This module loads no HTTP stack.
"""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Duration,
    Inputs,
    declare,
    declare_database,
)
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.snapshot.record import DEFAULT_TIMEOUT, PURPOSE, SnapshotInputs

CHANGES = ("create", "update", "delete")
# seconds; a failed run and its repetition cost one of the day's snapshots
DEFAULT_REUSE = 10 * 60.0
FIRST_UP = "first run with this guard"
"""The change that a guard notes for all changes that it could not hear of."""
NEVER_GUARDED = (
    f"pulumi-python:dynamic/{PACKAGE}:",
    f"{PACKAGE}:index:",
    "pulumi:pulumi:",
    "pulumi:providers:",
)
"""The types, by their beginnings, of what a guard of a whole stack leaves out: this package's
resources, the stack itself and its references, and providers."""
# Part of a hook's name, since the engine says no more of a hook that it does not know than that it
# `was not registered`.
PUT_BACK = (
    " (if you removed this guard, put it back for one more run; if not, let what is replaced "
    "depend on the guard, and if the guard's database comes from it, give the guard the id as "
    "text; without a snapshot: SQUARECLOUD_GUARD=off pulumi up --exclude '**::NAME', NAME being "
    "what is replaced, then SQUARECLOUD_GUARD=off pulumi up)"
)
HookKey = tuple[str, str]
"""When a hook runs, `before`, `after` or `on`, and for which change, such as `delete`."""
SNAPSHOT_TYPES = tuple(f"{each}Snapshot" for each in NEVER_GUARDED[:2])
CHOSEN = "chosen by the program: "
"""How a pattern begins that stands for the choice of a Python program, which gives resources their
hooks itself."""
CHOSEN_ALL = f"{CHOSEN}all"
CHOSEN_HOOKS = f"{CHOSEN}hooks in options"


def _changes(given: object) -> tuple[str, ...]:
    """Read which changes are guarded, in the order of `CHANGES`."""
    listed = [*given] if isinstance(given, list | tuple) else []
    for each in listed or [given]:
        if not listed or each not in CHANGES:
            reason = f"must be a list of {', '.join(map(repr, CHANGES))}"
            raise checks.Unfit(reason, each)
    return tuple(each for each in CHANGES if each in listed)


class GuardInputs(Inputs):
    """The inputs of a guard; durations in seconds."""

    database_id: str = declare_database("The database to take a snapshot of.", PURPOSE)
    reuse_within: Duration = declare(
        "Use the newest manual snapshot of this database in place of a new one if it was taken at "
        "most this long before the first change, and if since then nothing guarded has changed "
        "and the database was not restored. 0 takes a new snapshot in each run. At most 30 days.",
        default=DEFAULT_REUSE,
        read=checks.duration(most=checks.RETENTION, may_be_zero=True),
    )
    before: tuple[str, ...] | None = declare(
        "Which changes of a guarded resource wait for the snapshot: `create`, `update`, `delete`. "
        "All unless given, except creates in a stack that has no resources yet.",
        default=None,
        read=_changes,
    )
    timeout: Duration = declare(
        "How long the changes wait for the snapshot at most. After that they do not happen.",
        default=DEFAULT_TIMEOUT,
        read=checks.timeout,
    )
    fallback: Duration | None = declare(
        "If no snapshot can be taken now, because the quota is used up or the service is down, use "
        "the newest snapshot of at most this age, automatic ones too, with a warning. At most 30 "
        "days.",
        default=None,
        read=checks.duration(most=checks.RETENTION),
    )

    @property
    def changes(self) -> tuple[str, ...]:
        """The changes that wait for the snapshot.

        By default creates too: a resource that is created can change data, as a migration does, and
        nothing says which does.
        """
        return CHANGES if self.before is None else self.before

    def lets_pass(self, change: str, in_state: Collection[str] | None) -> bool:
        """Tell whether a change needs no snapshot: a create in a stack that has nothing to lose.

        Args:
            change: The change, such as `create`.
            in_state: The URNs of what the state had and a guard can guard; None if not known.
        """
        is_new_stack = in_state is not None and not in_state
        return change == "create" and self.before is None and is_new_stack

    @property
    def snapshot(self) -> SnapshotInputs:
        """The inputs of the snapshot."""
        return SnapshotInputs(
            self.database_id,
            timeout=self.timeout,
            reuse_within=self.reuse_within,
        )


def _patterns(given: object) -> tuple[str, ...]:
    """Read patterns of names or types."""
    if not isinstance(given, list | tuple):
        raise checks.Unfit("must be a list of strings", given)
    return tuple(map(checks.text, given))


def _pin(given: object) -> str:
    """Read a value of a roll-back, which is a number if YAML reads the config `1`."""
    if checks.is_number(given):
        return str(int(given)) if given == int(given) else str(given)
    return checks.text(given)


class ComponentInputs(GuardInputs):
    """The inputs of a guard that is a component; some stand for the methods of Python's guard.

    Durations in seconds.
    """

    only: tuple[str, ...] | None = declare(
        "The names or types of the resources that it guards, such as `shop` or `aws:rds/*`; `*` "
        "stands for any text. All resources that Pulumi registers after the "
        "guard, unless given: let them depend on the guard.",
        default=None,
        read=_patterns,
    )
    rollback: str | None = declare(
        "A value of a roll-back, with which `last` stays the same from its first run on, whatever "
        "is guarded meanwhile, until a run without it makes a guarded change. It is an error if "
        "there is no snapshot then.",
        default=None,
        read=_pin,
    )

    @property
    def patterns(self) -> set[str]:
        """The patterns of `only`."""
        return {"*"} if self.only is None else {*self.only}


def is_chosen_by_program(pattern: str) -> bool:
    """Tell whether a pattern stands for the choice of a Python program.

    Args:
        pattern: A pattern of the state.
    """
    return pattern.startswith(CHOSEN)


def change_of(urn: str, change: str) -> str:
    """Describe a change in words.

    Args:
        urn: The resource.
        change: Such as `update`.

    Returns:
        Such as `update of Server shop`.
    """
    parts = urn.split("::", 3)
    if len(parts) < 4:  # noqa: PLR2004  stack, project, types, name
        return f"{change} of {urn}"
    kind = parts[2].rpartition("$")[2].rpartition(":")[2]
    return f"{change} of {kind} {parts[3]}"


def is_whole(changes: Collection[str], patterns: Collection[str]) -> bool:
    """Tell whether a guard hears of each change that the engine makes after its snapshot.

    Args:
        changes: The changes that the guard guards.
        patterns: The patterns of what the guard guards, or what stands for the program's own
            choice.

    Returns:
        Whether the guard guards all kinds of changes of all resources.
    """
    return {*CHANGES} <= {*changes} and not {"*", CHOSEN_ALL}.isdisjoint(patterns)


def fits(type_: str, name: str, patterns: Collection[str]) -> set[str]:
    """Find the patterns that a resource fits by its type or its name.

    Args:
        type_: The resource's type.
        name: Its name.
        patterns: The patterns, in which `*` stands for any text.

    Returns:
        The patterns that fit. The resource is guarded if a pattern fits.
    """
    return {
        each for each in patterns if fnmatchcase(type_, each) or fnmatchcase(name, each)
    }


def may_be_guarded(type_: str, *, custom: bool) -> bool:
    """Tell whether a guard of a whole stack guards a resource.

    Components are guarded by their parts.

    Args:
        type_: The resource's type.
        custom: Whether a provider makes it.
    """
    return custom and not type_.startswith(NEVER_GUARDED)


def hook_names(
    guard: str,
    before: Iterable[str],
    *,
    in_preview: bool,
) -> dict[HookKey, str]:
    """The names of a guard's hooks.

    The state keeps the names for deletes, so all ways to the engine use the same names.

    Args:
        guard: The guard's name.
        before: The changes that the guard guards.
        in_preview: Whether the hooks are for a preview, which hears of all creates.

    Returns:
        The names by the hooks' keys; the hook of failures has the key `on`, `error`.
        The hooks of deletes are always there, since the state may name them from when the guard
        guarded deletes.
    """
    names = {
        (when, change): f"Guard {guard}: {when} {change}"
        for change in dict.fromkeys((*before, "delete"))
        for when in ("before", "after")
    }
    names["before", "delete"] += PUT_BACK
    if in_preview:
        names.setdefault(("before", "create"), f"Guard {guard}: preview")
    names["on", "error"] = f"Guard {guard}: failed change"
    return names


def leaves_hook(change: str, changes: Collection[str], *, is_off: bool) -> bool:
    """Tell whether a guard gives resources its hooks of a change, which stay in the state.

    The engine cannot run the hooks of a delete that comes before a component. With a component's
    guards off no hooks are left, so that such a delete happens in the next run.

    Args:
        change: The change.
        changes: The changes that the guard guards.
        is_off: Whether the guards of a component are off.
    """
    return change != "delete" or ("delete" in changes and not is_off)
