"""A snapshot each week, restored onto a scratch database, where checks ask what came back."""

import pulumi

from pulumi_snapshots import Archive, Check, Drill, Snapshot

config = pulumi.Config()
weekly = Snapshot("weekly", config.require("databaseId"), rotate_after="7d")
# Optional: the proof is noted in the archive's manifest, and `keep_last` never removes the last
# proved one.
archive = Archive("weekly", weekly, destination="archives/", keep_last=8)
proof = Drill(
    "weekly",
    weekly,
    scratch_database_id=config.require("scratchId"),
    connection=config.require_secret("scratchUrl"),
    checks=[
        Check(
            config.require("query"),
            at_least=config.require_int("atLeast"),
            name="enough rows",
        ),
        Check("select current_setting('server_encoding')", equals="UTF8"),
        Check.tables(),
    ],
    overwrite_scratch=True,
    opts=pulumi.ResourceOptions(depends_on=[archive]),
)
pulumi.export("drilled_at", proof.drilled_at)
pulumi.export("restore_seconds", proof.restore_seconds)
pulumi.export("results", proof.results)
