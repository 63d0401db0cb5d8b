// in: none
// Everything that the plugin offers, once, in TypeScript.
// in: all
// in: Drill Guard
import * as pulumi from "@pulumi/pulumi";
// in: all
import * as squarecloud from "pulumi-squarecloud";

// in: Snapshot Restore Archive Drill
const before = new squarecloud.Snapshot("before-release", {
    databaseId: "a14b8d5e1cb7405a851eb4c075506121",
    triggers: ["v1.2.0"], // another release takes another snapshot
});
// in: Snapshot
export const versionId = before.versionId;
export const downloadUrl = before.downloadUrl; // a secret
// in: Restore
const staging = new squarecloud.Restore("staging", {
    snapshot: before,
    targetDatabaseId: "b25c9e6f2dc8516b962fc5d186617232",
    overwrite: true, // everything that this database holds is overwritten
    triggers: ["v1.2.0"],
});
export const restoredAt = staging.restoredAt;
// in: Archive
const offsite = new squarecloud.Archive("offsite", {
    snapshot: before,
    destination: "s3://backups/shop/",
    keep: { daily: 7, monthly: 12 },
});
export const uri = offsite.uri;
// in: Drill
const weekly = new squarecloud.Drill("weekly", {
    snapshot: before,
    scratchDatabaseId: "c36daf703ed9627ca73fd6e297728343",
    connection: new pulumi.Config().requireSecret("scratchConnection"),
    overwriteScratch: true,
    every: "7d",
    checks: [{ query: "select count(*) from orders", atLeast: 1000 }],
});
export const restoreSeconds = weekly.restoreSeconds;
// in: Guard
// Before a guarded resource changes, a snapshot is taken; however many change, one.
const guard = new squarecloud.Guard("guard", {
    databaseId: "a14b8d5e1cb7405a851eb4c075506121",
    only: ["shop"], // all that depend on the guard unless given
});
new pulumi.Stash("shop", { input: "v1.2.0" }, { dependsOn: guard }); // in place of your own
export const lastGuarded = guard.last;
// in: getSnapshots
export const recent = squarecloud.getSnapshotsOutput({
    databaseId: "a14b8d5e1cb7405a851eb4c075506121",
    origin: squarecloud.Origin.Manual,
    newerThan: "7d",
}).snapshots;
// in: getLatestSnapshot getDownloadUrl
export const latest = squarecloud.getLatestSnapshotOutput({
    databaseId: "a14b8d5e1cb7405a851eb4c075506121",
    maxAge: "1d",
}).snapshot;
// in: getDownloadUrl
export const latestUrl = squarecloud.getDownloadUrlOutput({
    databaseId: latest.databaseId,
    versionId: latest.versionId,
}).downloadUrl; // a secret
// in: getDatabase
export const engine = squarecloud.getDatabaseOutput({ databaseId: "a14b8d5e1cb7405a851eb4c075506121" }).type;
// in: getDatabases
export const databases = squarecloud.getDatabasesOutput().databases;
