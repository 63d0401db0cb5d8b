// A snapshot before anything changes that uses the database: however many changes an update makes, one snapshot is taken.
import * as pulumi from "@pulumi/pulumi";
import * as squarecloud from "pulumi-squarecloud";

const config = new pulumi.Config();
const databaseId = config.require("databaseId");
const release = config.get("release") ?? "v1";

// A hook that lets a change happen only once there is a snapshot from before it.
// The one after it notes the change, so that the next update takes another snapshot.
const guard = (what: string, after = false) =>
    new pulumi.ResourceHook(`guard ${after ? "after" : "before"} ${what}`, async ({ name, urn }) => {
        await squarecloud.takeSnapshot({ databaseId, change: `${what} of ${name}`, urn, after });
    });
const hooks = {
    beforeUpdate: [guard("update")],
    afterUpdate: [guard("update", true)],
    beforeDelete: [guard("delete")],
    afterDelete: [guard("delete", true)],
};

// Starts the provider: for a hook before a delete, which runs after the program, the engine starts none.
const database = squarecloud.getDatabaseOutput({ databaseId });

// Put your own resources here; these only keep a value in the state.
const shop = new pulumi.Stash("shop", { input: `shop ${release}` }, { hooks });
new pulumi.Stash("worker", { input: `worker ${release}` }, { hooks });

export const engine = database.type;
export const running = shop.input;
