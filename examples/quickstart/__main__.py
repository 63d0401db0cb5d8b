"""Takes a snapshot of a database before each release, and exports its download URL."""

import pulumi

from pulumi_snapshots import Snapshot

config = pulumi.Config()
snapshot = Snapshot(
    "before-release",
    database_id=config.require("databaseId"),
    triggers=[config.require("release")],
)

pulumi.export("id", snapshot.id)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("size", snapshot.size)
pulumi.export("created_at", snapshot.created_at)
pulumi.export("expires_at", snapshot.expires_at)
pulumi.export("download_url", snapshot.download_url)  # a secret
