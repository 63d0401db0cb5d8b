// A snapshot before anything changes that uses the database: however many changes an update makes, one snapshot is taken.
import * as pulumi from "@pulumi/pulumi";
import * as squarecloud from "pulumi-squarecloud";

const config = new pulumi.Config();
const databaseId = config.require("databaseId");
const release = config.get("release") ?? "v1";
const rollback = config.get("rollback");

const guard = new squarecloud.Guard("guard", { databaseId, rollback });
// What depends on these waits for them, or it may change before the guard is there, or while the database is being restored.
const dependsOn: pulumi.Resource[] = [guard];
if (rollback) {
    // pulumi up -c rollback=1; another value restores again
    const versionId = guard.last.apply((last) => last!.versionId);
    dependsOn.push(new squarecloud.Restore("back", { databaseId, versionId, overwrite: true, triggers: [rollback] }));
}

// Put your own resources here; these only keep a value in the state.
const shop = new pulumi.Stash("shop", { input: `shop ${release}` }, { dependsOn });
new pulumi.Stash("worker", { input: `worker ${release}` }, { dependsOn });

export const running = shop.input;
