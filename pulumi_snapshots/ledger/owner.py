"""The owner of a request: a resource under a name that outlives a change of the provider, or a command."""

from __future__ import annotations

SENDS_RESTORES = "Drill"
"""A kind of resource whose restores stand beside those of a Restore, which may have the same name."""

GUARDS = "guard"
"""The owner of every guard's request, with the database: whichever guard of it comes next completes what a killed run has
started."""


def owner_of(urn: str | None) -> str | None:
    """Return who a URN is about: project, stack, types of its parents and name.

    Not its own type: the same resource of the dynamic provider and of the plugin has one owner. Only a drill's kind is part of
    it. Anything else than a URN, such as a command, is its own owner.
    """
    parts = (urn or "").split("::", 3)
    if len(parts) != 4 or not parts[0].startswith("urn:pulumi:"):  # noqa: PLR2004  stack, project, types, name
        return urn
    stack, project, types, name = parts
    parents, _, own = types.rpartition("$")
    kind = SENDS_RESTORES if own.endswith(f":{SENDS_RESTORES}") else ""
    return "::".join(filter(None, (project, stack.removeprefix("urn:pulumi:"), parents, kind, name)))


def is_resource(owner: str | None) -> bool:
    """Whether an owner is a resource, whose later calls show what its state has; nothing shows what a command has printed."""
    return owner is not None and "::" in owner


def is_renamed(owner: str | None, other: str | None, *, stack_only: bool = False) -> bool:
    """Whether two owners of one project differ, with `stack_only` in nothing but the stack."""
    ours, theirs = ((each or "").split("::") for each in (owner, other))
    if min(len(ours), len(theirs)) < 3 or ours[0] != theirs[0] or ours == theirs:  # noqa: PLR2004  project, stack and name
        return False
    return not stack_only or ours[2:] == theirs[2:]
