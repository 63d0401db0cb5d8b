// in: none
// Everything that the plugin offers, once, in Go.
// in: all
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	// in: Drill
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	// in: all
	"pulumi-squarecloud.invalid/sdk/go/squarecloud"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		// in: Snapshot Restore Archive Drill
		before, err := squarecloud.NewSnapshot(ctx, "before-release", &squarecloud.SnapshotArgs{
			DatabaseId: pulumi.String("a14b8d5e1cb7405a851eb4c075506121"),
			Triggers:   pulumi.Array{pulumi.String("v1.2.0")}, // another release takes another snapshot
		})
		if err != nil {
			return err
		}
		// in: Snapshot
		ctx.Export("versionId", before.VersionId)
		ctx.Export("downloadUrl", before.DownloadUrl) // a secret
		// in: Restore
		staging, err := squarecloud.NewRestore(ctx, "staging", &squarecloud.RestoreArgs{
			Snapshot:         before,
			TargetDatabaseId: pulumi.String("b25c9e6f2dc8516b962fc5d186617232"),
			Overwrite:        pulumi.Bool(true), // everything that this database holds is overwritten
			Triggers:         pulumi.Array{pulumi.String("v1.2.0")},
		})
		if err != nil {
			return err
		}
		ctx.Export("restoredAt", staging.RestoredAt)
		// in: Archive
		offsite, err := squarecloud.NewArchive(ctx, "offsite", &squarecloud.ArchiveArgs{
			Snapshot:    before,
			Destination: pulumi.String("s3://backups/shop/"),
			Keep: &squarecloud.KeepArgs{
				Daily:   pulumi.Int(7),
				Monthly: pulumi.Int(12),
			},
		})
		if err != nil {
			return err
		}
		ctx.Export("uri", offsite.Uri)
		// in: Drill
		weekly, err := squarecloud.NewDrill(ctx, "weekly", &squarecloud.DrillArgs{
			Snapshot:          before,
			ScratchDatabaseId: pulumi.String("c36daf703ed9627ca73fd6e297728343"),
			Connection:        config.RequireSecret(ctx, "scratchConnection"),
			OverwriteScratch:  pulumi.Bool(true),
			Every:             pulumi.String("7d"),
			Checks: squarecloud.CheckArray{&squarecloud.CheckArgs{
				Query:   pulumi.String("select count(*) from orders"),
				AtLeast: pulumi.Float64(1000),
			}},
		})
		if err != nil {
			return err
		}
		ctx.Export("restoreSeconds", weekly.RestoreSeconds)
		// in: Guard
		// Before a guarded resource changes, a snapshot is taken; however many change, one.
		guard, err := squarecloud.NewGuard(ctx, "guard", &squarecloud.GuardArgs{
			DatabaseId: pulumi.String("a14b8d5e1cb7405a851eb4c075506121"),
			Only:       pulumi.StringArray{pulumi.String("shop")}, // all that depend on the guard unless given
		})
		if err != nil {
			return err
		}
		// In place of a resource of your own:
		shop := &pulumi.StashArgs{Input: pulumi.Any("v1.2.0")}
		_, err = pulumi.NewStash(ctx, "shop", shop, pulumi.DependsOn([]pulumi.Resource{guard}))
		if err != nil {
			return err
		}
		ctx.Export("lastGuarded", guard.Last)
		// in: getSnapshots
		recent := squarecloud.GetSnapshotsOutput(ctx, squarecloud.GetSnapshotsOutputArgs{
			DatabaseId: pulumi.String("a14b8d5e1cb7405a851eb4c075506121"),
			Origin:     squarecloud.OriginManual,
			NewerThan:  pulumi.String("7d"),
		})
		ctx.Export("recent", recent.Snapshots())
		// in: getLatestSnapshot getDownloadUrl
		latest := squarecloud.GetLatestSnapshotOutput(ctx, squarecloud.GetLatestSnapshotOutputArgs{
			DatabaseId: pulumi.String("a14b8d5e1cb7405a851eb4c075506121"),
			MaxAge:     pulumi.String("1d"),
		})
		ctx.Export("latest", latest.Snapshot())
		// in: getDownloadUrl
		url := squarecloud.GetDownloadUrlOutput(ctx, squarecloud.GetDownloadUrlOutputArgs{
			DatabaseId: latest.Snapshot().DatabaseId(),
			VersionId:  latest.Snapshot().VersionId(),
		})
		ctx.Export("latestUrl", url.DownloadUrl()) // a secret
		// in: getDatabase
		database := squarecloud.GetDatabaseOutput(ctx, squarecloud.GetDatabaseOutputArgs{
			DatabaseId: pulumi.String("a14b8d5e1cb7405a851eb4c075506121"),
		})
		ctx.Export("engine", database.Type())
		// in: getDatabases
		databases := squarecloud.GetDatabasesOutput(ctx)
		ctx.Export("databases", databases.Databases())
		// in: all
		return nil
	})
}
