"""The resources of this package by their names: one list for both front ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.late import late

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_snapshots.run.calls import Rules

RULES: dict[str, Callable[[], type[Rules]]] = {
    "Snapshot": lambda: late("snapshot.difference:SnapshotRules"),
    "Restore": lambda: late("restore.difference:RestoreRules"),
    "Archive": lambda: late("archive.difference:ArchiveRules"),
    "Drill": lambda: late("drill.difference:DrillRules"),
}
"""What loads each resource's rules. Its class for programs has the same name, in the file of `program` that is called like it."""
