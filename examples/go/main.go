// A snapshot before each release, archived, and what the service has of the database besides.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"pulumi-squarecloud.invalid/sdk/go/squarecloud"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		settings := config.New(ctx, "")
		databaseID := settings.Require("databaseId")
		destination := settings.Get("destination")
		if destination == "" {
			destination = "archives/"
		}

		before, err := squarecloud.NewSnapshot(ctx, "before-release", &squarecloud.SnapshotArgs{
			DatabaseId: pulumi.String(databaseID),
			Triggers:   pulumi.Array{pulumi.String(settings.Require("release"))},
		})
		if err != nil {
			return err
		}
		archive, err := squarecloud.NewArchive(ctx, "offsite", &squarecloud.ArchiveArgs{
			Snapshot:    before,
			Destination: pulumi.String(destination),
			KeepLast:    pulumi.Int(5),
		})
		if err != nil {
			return err
		}
		found, err := squarecloud.GetSnapshots(ctx, &squarecloud.GetSnapshotsArgs{DatabaseId: &databaseID})
		if err != nil {
			return err
		}

		ctx.Export("snapshot", before.VersionId)
		ctx.Export("downloadUrl", before.DownloadUrl) // a secret
		ctx.Export("archive", archive.Uri)
		ctx.Export("earlier", pulumi.ToOutput(found.Snapshots)) // what the service has of the database, without download URLs
		return nil
	})
}
