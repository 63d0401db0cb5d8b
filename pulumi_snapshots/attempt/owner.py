"""Who asks for a POST: the resource under a name that outlives a change of the provider, and the engine's run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class EngineRun:
    """One run of an engine, such as a `pulumi up`.

    Attributes:
        name: the same in all its processes, and in no other run on this machine; empty outside of one.
        forces: whether its user asked for another one of this resource, whatever the state holds; false if that is not known.
        stays: when the POST was sent of what the engine has compared in this run and is to keep, though it makes the resource
            again: an interrupted run has deleted it. None if it has compared nothing, or what it has compared is to be replaced.
        carries: whether what this run has deleted may stay; false if another one is wanted.
    """

    name: str = ""
    forces: bool = False
    stays: datetime | None = None
    carries: bool = True


@dataclass(frozen=True)
class Asker:
    """Who asks for a POST.

    Attributes:
        owner: the resource's URN, or the command; None if unknown.
        engine: the run of the engine in which it asks.
        gives_up_earlier: whether to give up on what a killed run left of this very operation, and send a new POST.
    """

    owner: str | None = None
    engine: EngineRun = field(default_factory=EngineRun)
    gives_up_earlier: bool = False


UNKNOWN_ASKER = Asker()
SENDS_RESTORES = "Drill"
"""A kind of resource whose POSTs stand beside those of a Restore, which may have the same name."""


def owner_of(urn: str | None) -> str | None:
    """Who a URN is about: project, stack, types of its parents and name.

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


def is_command(owner: str) -> bool:
    """Whether an owner is a command, which resumes what it has sent when it is run again."""
    return " " in owner and "::" not in owner


def is_renamed(owner: str | None, other: str | None) -> bool:
    """Whether two owners of one project differ in nothing but the stack, or but the name."""
    ours, theirs = ((each or "").split("::") for each in (owner, other))
    several = len(ours) == len(theirs) > 2  # noqa: PLR2004  project, stack and name
    return several and ours[0] == theirs[0] and sum(map(str.__ne__, ours, theirs)) == 1
