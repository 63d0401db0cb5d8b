// A snapshot before each release, archived, and what the service has of the database besides.
import * as pulumi from "@pulumi/pulumi";
import * as squarecloud from "pulumi-squarecloud";

export = async () => {
    const config = new pulumi.Config();
    const databaseId = config.require("databaseId");
    const release = config.require("release");

    const before = new squarecloud.Snapshot("before-release", { databaseId, triggers: [release] });
    const archive = new squarecloud.Archive("offsite", {
        snapshot: before,
        destination: config.get("destination") ?? "archives/",
        keepLast: 5,
    });
    const { snapshots } = await squarecloud.getSnapshots({ databaseId });

    return {
        snapshot: before.versionId,
        downloadUrl: before.downloadUrl, // a secret
        archive: archive.uri,
        earlier: snapshots, // what the service has of the database, without download URLs
    };
};
