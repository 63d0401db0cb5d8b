// A program is tested with Pulumi's mocks: no engine, no plugin, no key. Run with `node bin/index.js`.
import * as assert from "node:assert";
import { test } from "node:test";
import * as pulumi from "@pulumi/pulumi";
import * as squarecloud from "pulumi-squarecloud";

const databaseId = "a14b8d5e1cb7405a851eb4c075506121";
const made: pulumi.runtime.MockResourceArgs[] = [];

pulumi.runtime.setMocks({
    newResource: (args) => {
        made.push(args);
        return { id: `${args.name}-id`, state: { ...args.inputs, versionId: "v9" } };
    },
    call: (args) => {
        assert.strictEqual(args.token, "squarecloud:index:getLatestSnapshot");
        return { snapshot: { databaseId, versionId: "v1", name: "n", available: true } };
    },
});

const value = <T>(output: pulumi.Output<T>) => new Promise<T>((resolve) => output.apply(resolve));

test("a release takes a snapshot of the database", async () => {
    const before = new squarecloud.Snapshot("before-release", { databaseId, triggers: ["v1.2.0"] });
    assert.strictEqual(await value(before.versionId), "v9");
    assert.deepStrictEqual(made[0].inputs, { databaseId, triggers: ["v1.2.0"] });
});

test("the latest snapshot is what the mock says", async () => {
    const { snapshot } = squarecloud.getLatestSnapshotOutput({ databaseId });
    assert.strictEqual(await value(snapshot.versionId), "v1");
});
