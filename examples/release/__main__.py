"""Migration and health check, each migration behind a snapshot.

And `rollback`, which brings back the data from before it.
"""

import hashlib
from pathlib import Path

import pulumi
from step import Step

from pulumi_snapshots import Guard, Restore

config = pulumi.Config()
rollback = config.get("rollback")

# A migration changes the data when its step is created, and again when the files of the folder
# change.
guard = Guard("migrations", config.require("databaseId"), before=["create"])
folder = Path(config.get("migrations") or "migrations")
files = [
    f"{file.relative_to(folder)} {hashlib.sha256(file.read_bytes()).hexdigest()}"
    for file in sorted(folder.rglob("*.*"))
]
migration = Step(
    "migration",
    config.require("migrate"),
    files,
    # The way back migrates nothing, whatever the files are by then.
    pulumi.ResourceOptions(
        hooks=guard.hooks, ignore_changes=["triggers"] if rollback else None
    ),
)
data: pulumi.Resource = migration
if rollback:
    pulumi.log.info(
        f"rollback is {rollback}: nothing is migrated until `pulumi config rm rollback`"
    )
    data = Restore(
        "rollback", guard.last(rollback), overwrite=True, triggers=[rollback]
    )
Step(
    "health",
    config.require("healthCheck"),
    [files, rollback],
    pulumi.ResourceOptions(depends_on=[data]),
)

last = guard.last()
pulumi.export("guarded_by", last and last.id)
