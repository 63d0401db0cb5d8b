# in: none
"""Everything that the plugin offers, once, in Python with the generated SDK."""

# in: all
import pulumi
import pulumi_squarecloud as squarecloud

# in: Snapshot Restore Archive Drill
before = squarecloud.Snapshot(
    "before-release",
    database_id="a14b8d5e1cb7405a851eb4c075506121",
    triggers=["v1.2.0"],  # another release takes another snapshot
)
# in: Snapshot
pulumi.export("versionId", before.version_id)
pulumi.export("downloadUrl", before.download_url)  # a secret
# in: Restore
staging = squarecloud.Restore(
    "staging",
    snapshot=before,
    target_database_id="b25c9e6f2dc8516b962fc5d186617232",
    overwrite=True,  # everything that this database holds is overwritten
    triggers=["v1.2.0"],
)
pulumi.export("restoredAt", staging.restored_at)
# in: Archive
offsite = squarecloud.Archive(
    "offsite",
    snapshot=before,
    destination="s3://backups/shop/",
    keep={"daily": 7, "monthly": 12},
)
pulumi.export("uri", offsite.uri)
# in: Drill
weekly = squarecloud.Drill(
    "weekly",
    snapshot=before,
    scratch_database_id="c36daf703ed9627ca73fd6e297728343",
    connection=pulumi.Config().require_secret("scratchConnection"),
    overwrite_scratch=True,
    every="7d",
    checks=[{"query": "select count(*) from orders", "at_least": 1000}],
)
pulumi.export("restoreSeconds", weekly.restore_seconds)
# in: Guard
# Before a guarded resource changes, a snapshot is taken; however many change, one.
guard = squarecloud.Guard(
    "guard",
    database_id="a14b8d5e1cb7405a851eb4c075506121",
    only=["shop"],  # all that depend on the guard unless given
)
pulumi.Stash("shop", input="v1.2.0", opts=pulumi.ResourceOptions(depends_on=[guard]))  # in place of your own
pulumi.export("lastGuarded", guard.last)
# in: getSnapshots
recent = squarecloud.get_snapshots_output(
    database_id="a14b8d5e1cb7405a851eb4c075506121",
    origin=squarecloud.Origin.MANUAL,
    newer_than="7d",
)
pulumi.export("recent", recent.snapshots)
# in: getLatestSnapshot getDownloadUrl
latest = squarecloud.get_latest_snapshot_output(
    database_id="a14b8d5e1cb7405a851eb4c075506121",
    max_age="1d",
)
pulumi.export("latest", latest.snapshot)
# in: getDownloadUrl
url = squarecloud.get_download_url_output(
    database_id=latest.snapshot.database_id,
    version_id=latest.snapshot.version_id,
)
pulumi.export("latestUrl", url.download_url)  # a secret
# in: getDatabase
database = squarecloud.get_database_output(database_id="a14b8d5e1cb7405a851eb4c075506121")
pulumi.export("engine", database.type)
# in: getDatabases
databases = squarecloud.get_databases_output()
pulumi.export("databases", databases.databases)
