// A snapshot before anything changes that uses the database: however many changes an update makes, one snapshot is taken.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"pulumi-squarecloud.invalid/sdk/go/squarecloud"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		settings := config.New(ctx, "")
		databaseID := pulumi.String(settings.Require("databaseId"))
		release := settings.Get("release")
		inputs := &squarecloud.GuardArgs{DatabaseId: databaseID}
		rollback := settings.Get("rollback")
		if rollback != "" {
			inputs.Rollback = pulumi.String(rollback)
		}
		guard, err := squarecloud.NewGuard(ctx, "guard", inputs)
		if err != nil {
			return err
		}
		// What depends on these waits for them, or it may change before the guard is there, or while the database is being restored.
		first := []pulumi.Resource{guard}
		if rollback != "" {
			// pulumi up -c rollback=1; another value restores again
			back, err := squarecloud.NewRestore(ctx, "back", &squarecloud.RestoreArgs{
				DatabaseId: databaseID,
				VersionId:  guard.Last.VersionId().Elem(),
				Overwrite:  pulumi.Bool(true),
				Triggers:   pulumi.Array{pulumi.String(rollback)},
			})
			if err != nil {
				return err
			}
			first = append(first, back)
		}
		guarded := pulumi.DependsOn(first)

		// Put your own resources here; these only keep a value in the state.
		shop, err := pulumi.NewStash(ctx, "shop", &pulumi.StashArgs{Input: pulumi.Any("shop " + release)}, guarded)
		if err != nil {
			return err
		}
		_, err = pulumi.NewStash(ctx, "worker", &pulumi.StashArgs{Input: pulumi.Any("worker " + release)}, guarded)
		if err != nil {
			return err
		}
		ctx.Export("running", shop.Input)
		return nil
	})
}
