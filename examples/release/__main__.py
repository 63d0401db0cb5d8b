"""Snapshot, migration, health check; and `rollbackOf`, which brings back the data from before the release it names."""

import re
from typing import Any

import pulumi
from step import Step

from pulumi_snapshots import Restore, Snapshot

config = pulumi.Config()
release = config.require("release")
rollback_of = config.get("rollbackOf")


def place(name: str) -> list[int]:
    """A release's place in their order."""
    if not re.fullmatch(r"v?\d+(\.\d+)*", name):
        raise pulumi.RunError(f"{name} is no numbered release, such as v9, v10 or 2026.11.2.")
    return [int(number) for number in name.removeprefix("v").split(".")]


def checked(taken_before: list[Any]) -> str:
    """The release to undo, if the snapshot is the one that was taken before it."""
    if taken_before != [rollback_of]:
        raise pulumi.RunError(f"rollbackOf is {rollback_of}, but the snapshot was taken before {taken_before[0]}.")
    return rollback_of


# A switch that is left behind does nothing any more once a later release is set.
rolling_back = rollback_of is not None and place(release) <= place(rollback_of)

snapshot = Snapshot(
    "before-release",
    config.require("databaseId"),
    triggers=[release],
    # The way back takes no other snapshot, even if `release` is set back.
    opts=pulumi.ResourceOptions(ignore_changes=["triggers"] if rolling_back else None),
)
if rolling_back:
    pulumi.log.info(f"rollbackOf is {rollback_of}: nothing is released until a later release is set")
    data = Restore("rollback", snapshot, overwrite=True, triggers=[snapshot.triggers.apply(checked)])
else:
    after_snapshot = pulumi.ResourceOptions(depends_on=[snapshot])
    data = Step("migration", config.require("migrate"), release, [release], after_snapshot)
after_data = pulumi.ResourceOptions(depends_on=[data])
Step("health", config.require("healthCheck"), release, [release, rolling_back], after_data)

pulumi.export("taken_before", snapshot.triggers)
pulumi.export("version_id", snapshot.version_id)
