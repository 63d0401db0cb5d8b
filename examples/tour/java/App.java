// in: none
// Everything that the plugin offers, once, in Java.
// in: all
import com.pulumi.Context;
import com.pulumi.Pulumi;
import pulumisnapshots.squarecloud.*;
// in: Guard
import com.pulumi.resources.CustomResourceOptions;
import com.pulumi.resources.Stash;
import com.pulumi.resources.StashArgs;
// in: Archive Drill getSnapshots getLatestSnapshot getDownloadUrl getDatabase
import pulumisnapshots.squarecloud.inputs.*;
// in: getSnapshots
import pulumisnapshots.squarecloud.enums.Origin;
// in: all

public class App {
    public static void main(String[] args) {
        Pulumi.run(App::stack);
    }

    private static void stack(Context ctx) {
        // in: Snapshot Restore Archive Drill
        var before = new Snapshot("before-release", SnapshotArgs.builder()
            .databaseId("a14b8d5e1cb7405a851eb4c075506121")
            .triggers("v1.2.0") // another release takes another snapshot
            .build());
        // in: Snapshot
        ctx.export("versionId", before.versionId());
        ctx.export("downloadUrl", before.downloadUrl()); // a secret
        // in: Restore
        var staging = new Restore("staging", RestoreArgs.builder()
            .snapshot(before)
            .targetDatabaseId("b25c9e6f2dc8516b962fc5d186617232")
            .overwrite(true) // everything that this database holds is overwritten
            .triggers("v1.2.0")
            .build());
        ctx.export("restoredAt", staging.restoredAt());
        // in: Archive
        var offsite = new Archive("offsite", ArchiveArgs.builder()
            .snapshot(before)
            .destination("s3://backups/shop/")
            .keep(KeepArgs.builder().daily(7).monthly(12).build())
            .build());
        ctx.export("uri", offsite.uri());
        // in: Drill
        var weekly = new Drill("weekly", DrillArgs.builder()
            .snapshot(before)
            .scratchDatabaseId("c36daf703ed9627ca73fd6e297728343")
            .connection(ctx.config().requireSecret("scratchConnection"))
            .overwriteScratch(true)
            .every("7d")
            .checks(CheckArgs.builder().query("select count(*) from orders").atLeast(1000.0).build())
            .build());
        ctx.export("restoreSeconds", weekly.restoreSeconds());
        // in: Guard
        // Before a guarded resource changes, a snapshot is taken; however many change, one.
        var guard = new Guard("guard", GuardArgs.builder()
            .databaseId("a14b8d5e1cb7405a851eb4c075506121")
            .only("shop") // all that depend on the guard unless given
            .build());
        // In place of a resource of your own:
        new Stash("shop", StashArgs.builder().input("v1.2.0").build(),
            CustomResourceOptions.builder().dependsOn(guard).build());
        ctx.export("lastGuarded", guard.last());
        // in: getSnapshots
        var recent = SquarecloudFunctions.getSnapshots(GetSnapshotsArgs.builder()
            .databaseId("a14b8d5e1cb7405a851eb4c075506121")
            .origin(Origin.Manual)
            .newerThan("7d")
            .build());
        ctx.export("recent", recent.applyValue(found -> found.snapshots()));
        // in: getLatestSnapshot getDownloadUrl
        var latest = SquarecloudFunctions.getLatestSnapshot(GetLatestSnapshotArgs.builder()
            .databaseId("a14b8d5e1cb7405a851eb4c075506121")
            .maxAge("1d")
            .build());
        ctx.export("latest", latest.applyValue(found -> found.snapshot()));
        // in: getDownloadUrl
        var url = SquarecloudFunctions.getDownloadUrl(GetDownloadUrlArgs.builder()
            .databaseId(latest.applyValue(found -> found.snapshot().databaseId()))
            .versionId(latest.applyValue(found -> found.snapshot().versionId()))
            .build());
        ctx.export("latestUrl", url.applyValue(found -> found.downloadUrl())); // a secret
        // in: getDatabase
        var database = SquarecloudFunctions.getDatabase(GetDatabaseArgs.builder()
            .databaseId("a14b8d5e1cb7405a851eb4c075506121")
            .build());
        ctx.export("engine", database.applyValue(found -> found.type()));
        // in: getDatabases
        var databases = SquarecloudFunctions.getDatabases();
        ctx.export("databases", databases.applyValue(found -> found.databases()));
        // in: all
    }
}
