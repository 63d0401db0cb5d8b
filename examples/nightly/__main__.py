"""A new snapshot of every database of the account each night, archived.

For a scheduled `pulumi up`.
"""

import pulumi

from pulumi_snapshots import Archive, Snapshot, get_databases

config = pulumi.Config()
archives = {}
for database in get_databases():
    snapshot = Snapshot(
        # a name could change, and the archives that keep_last counts would be another resource's
        database.id,
        database.id,
        # Shorter than a day: schedules start late. A stopped database cannot be captured, so it
        # keeps what it has.
        rotate_after="20h" if database.running else None,
        reuse_within="1h",  # adopts what a job that was cancelled has started
    )
    archive = Archive(
        database.id,
        snapshot,
        destination=config.require("destination"),
        keep_last=config.require_int("keepLast"),
    )
    archives[database.id] = archive.uri
pulumi.export("archives", archives)
