// What a Snapshot and a lookup give fits where it is taken, without a conversion. Compiled, never run.
package types

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"pulumi-squarecloud.invalid/sdk/go/squarecloud"
)

func Program(ctx *pulumi.Context, before *squarecloud.Snapshot) error {
	var versionID pulumi.StringOutput = before.VersionId
	aliases := pulumi.Aliases([]pulumi.Alias{{URN: pulumi.URN("urn:pulumi:dev::app::x::moved")}})
	if _, err := squarecloud.NewSnapshot(ctx, "moved", &squarecloud.SnapshotArgs{DatabaseId: before.DatabaseId}, aliases); err != nil {
		return err
	}
	overwrite := pulumi.Bool(true)
	if _, err := squarecloud.NewRestore(ctx, "whole", &squarecloud.RestoreArgs{
		Snapshot:  before,
		Overwrite: overwrite,
	}); err != nil {
		return err
	}
	back, err := squarecloud.NewRestore(ctx, "named", &squarecloud.RestoreArgs{
		DatabaseId: before.DatabaseId,
		VersionId:  versionID,
		Name:       before.Name,
		Overwrite:  overwrite,
	})
	if err != nil {
		return err
	}
	var _ pulumi.StringOutput = back.RestoredAt
	if _, err := squarecloud.NewArchive(ctx, "named", &squarecloud.ArchiveArgs{
		DatabaseId:  before.DatabaseId,
		VersionId:   versionID,
		DownloadUrl: before.DownloadUrl,
		Size:        before.Size,
		CreatedAt:   before.CreatedAt,
		Destination: pulumi.String("archives/"),
	}); err != nil {
		return err
	}
	drill, err := squarecloud.NewDrill(ctx, "weekly", &squarecloud.DrillArgs{
		Snapshot:          before,
		ScratchDatabaseId: pulumi.String("b"),
		Connection:        pulumi.String("postgresql://scratch"),
		Checks: squarecloud.CheckArray{
			&squarecloud.CheckArgs{Query: pulumi.String("select count(*) from orders"), AtLeast: pulumi.Float64(1000)},
		},
		OverwriteScratch: overwrite,
	})
	if err != nil {
		return err
	}
	var _ pulumi.BoolOutput = drill.Passed
	found := squarecloud.GetSnapshotsOutput(ctx, squarecloud.GetSnapshotsOutputArgs{DatabaseId: before.DatabaseId})
	newest := found.Snapshots().Index(pulumi.Int(0))
	_, err = squarecloud.NewRestore(ctx, "found", &squarecloud.RestoreArgs{
		DatabaseId: newest.DatabaseId(),
		VersionId:  newest.VersionId(),
		Overwrite:  overwrite,
	})
	if err != nil {
		return err
	}
	latest := squarecloud.GetLatestSnapshotOutput(ctx, squarecloud.GetLatestSnapshotOutputArgs{
		DatabaseId: before.DatabaseId,
		MaxAge:     pulumi.String("1d"),
	}).Snapshot()
	var _ pulumi.StringOutput = latest.VersionId()
	return nil
}
