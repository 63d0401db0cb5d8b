// What a Snapshot and a lookup give fits where it is taken, without a cast. Compiled, never run.
import * as pulumi from "@pulumi/pulumi";
import * as squarecloud from "pulumi-squarecloud";

const before = new squarecloud.Snapshot("before", { databaseId: "a", triggers: ["v1"] });
new squarecloud.Snapshot("moved", { databaseId: "a" }, { aliases: ["urn:pulumi:dev::app::x::moved"] });
const databaseId: pulumi.Output<string> = before.databaseId;
const versionId: pulumi.Output<string> = before.versionId;

new squarecloud.Restore("whole", { snapshot: before, overwrite: true });
const back = new squarecloud.Restore("named", { databaseId, versionId, name: before.name, runtime: before.runtime, overwrite: true });
const restoredAt: pulumi.Output<string> = back.restoredAt;
new squarecloud.Archive("whole", { snapshot: before, destination: "archives/" });
new squarecloud.Archive("named", {
    databaseId,
    versionId,
    downloadUrl: before.downloadUrl,
    size: before.size,
    createdAt: before.createdAt,
    destination: pulumi.interpolate`archives/${restoredAt}/`,
});

const drill = new squarecloud.Drill("weekly", {
    snapshot: before,
    scratchDatabaseId: "b",
    connection: pulumi.secret("postgresql://scratch"),
    checks: [{ query: "select count(*) from orders", atLeast: 1000 }],
    overwriteScratch: true,
});
const passed: pulumi.Output<boolean> = drill.passed;
new squarecloud.Archive("proved", { databaseId, versionId, destination: "archives/", pin: passed });

const found = squarecloud.getSnapshotsOutput({ databaseId: before.databaseId }).snapshots[0];
new squarecloud.Restore("found", { databaseId: found.databaseId, versionId: found.versionId, overwrite: true });
const latest = squarecloud.getLatestSnapshotOutput({ databaseId: "a", origin: squarecloud.Origin.Automatic, maxAge: "1d" }).snapshot;
new squarecloud.Restore("latest", { databaseId: latest.databaseId, versionId: latest.versionId, overwrite: true });
export const version: Promise<string> = squarecloud.getLatestSnapshot({ databaseId: "a" }).then(({ snapshot }) => snapshot.versionId);
