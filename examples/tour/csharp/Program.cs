// in: none
// Everything that the plugin offers, once, in C#.
// in: all
using System.Collections.Generic;
using Pulumi;
using PulumiSnapshots.SquareCloud;
// in: Archive Drill
using PulumiSnapshots.SquareCloud.Inputs;
// in: all

return await Deployment.RunAsync(() =>
{
    // in: Snapshot Restore Archive Drill
    var before = new Snapshot("before-release", new SnapshotArgs
    {
        DatabaseId = "a14b8d5e1cb7405a851eb4c075506121",
        Triggers = { "v1.2.0" }, // another release takes another snapshot
    });
    // in: Restore
    var staging = new Restore("staging", new RestoreArgs
    {
        Snapshot = before,
        TargetDatabaseId = "b25c9e6f2dc8516b962fc5d186617232",
        Overwrite = true, // everything that this database holds is overwritten
        Triggers = { "v1.2.0" },
    });
    // in: Archive
    var offsite = new Archive("offsite", new ArchiveArgs
    {
        Snapshot = before,
        Destination = "s3://backups/shop/",
        Keep = new KeepArgs { Daily = 7, Monthly = 12 },
    });
    // in: Drill
    var weekly = new Drill("weekly", new DrillArgs
    {
        Snapshot = before,
        ScratchDatabaseId = "c36daf703ed9627ca73fd6e297728343",
        Connection = new Config().RequireSecret("scratchConnection"),
        OverwriteScratch = true,
        Every = "7d",
        Checks = { new CheckArgs { Query = "select count(*) from orders", AtLeast = 1000 } },
    });
    // in: Guard
    // Before a guarded resource changes, a snapshot is taken; however many change, one.
    var guard = new Guard("guard", new GuardArgs
    {
        DatabaseId = "a14b8d5e1cb7405a851eb4c075506121",
        Only = { "shop" }, // all that depend on the guard unless given
    });
    // In place of a resource of your own:
    new Stash("shop", new StashArgs { Input = "v1.2.0" }, new CustomResourceOptions { DependsOn = { guard } });
    // in: getSnapshots
    var recent = GetSnapshots.Invoke(new GetSnapshotsInvokeArgs
    {
        DatabaseId = "a14b8d5e1cb7405a851eb4c075506121",
        Origin = Origin.Manual,
        NewerThan = "7d",
    });
    // in: getLatestSnapshot getDownloadUrl
    var latest = GetLatestSnapshot.Invoke(new GetLatestSnapshotInvokeArgs
    {
        DatabaseId = "a14b8d5e1cb7405a851eb4c075506121",
        MaxAge = "1d",
    });
    // in: getDownloadUrl
    var url = GetDownloadUrl.Invoke(new GetDownloadUrlInvokeArgs
    {
        DatabaseId = latest.Apply(found => found.Snapshot.DatabaseId),
        VersionId = latest.Apply(found => found.Snapshot.VersionId),
    });
    // in: getDatabase
    var database = GetDatabase.Invoke(new GetDatabaseInvokeArgs
    {
        DatabaseId = "a14b8d5e1cb7405a851eb4c075506121",
    });
    // in: getDatabases
    var databases = GetDatabases.Invoke();
    // in: all

    return new Dictionary<string, object?>
    {
        // in: Snapshot
        ["versionId"] = before.VersionId,
        ["downloadUrl"] = before.DownloadUrl, // a secret
        // in: Restore
        ["restoredAt"] = staging.RestoredAt,
        // in: Archive
        ["uri"] = offsite.Uri,
        // in: Drill
        ["restoreSeconds"] = weekly.RestoreSeconds,
        // in: Guard
        ["lastGuarded"] = guard.Last,
        // in: getSnapshots
        ["recent"] = recent.Apply(found => found.Snapshots),
        // in: getLatestSnapshot
        ["latest"] = latest.Apply(found => found.Snapshot),
        // in: getDownloadUrl
        ["latestUrl"] = url.Apply(found => found.DownloadUrl), // a secret
        // in: getDatabase
        ["engine"] = database.Apply(found => found.Type),
        // in: getDatabases
        ["databases"] = databases.Apply(found => found.Databases),
        // in: all
    };
});
