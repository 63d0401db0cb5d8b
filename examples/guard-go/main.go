// A snapshot before anything changes that uses the database: however many changes an update makes, one snapshot is taken.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"pulumi-squarecloud/sdk/go/squarecloud"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		settings := config.New(ctx, "")
		databaseID := settings.Require("databaseId")
		release := settings.Get("release")

		// A hook that lets an update happen only once there is a snapshot from before it. Deletes come after the program
		// has ended, when Go's SDK makes no more calls.
		guard, err := ctx.RegisterResourceHook("guard update", func(args *pulumi.ResourceHookArgs) error {
			change, urn := "update of "+args.Name, string(args.URN)
			_, err := squarecloud.TakeSnapshot(ctx, &squarecloud.TakeSnapshotArgs{
				DatabaseId: databaseID,
				Change:     &change,
				Urn:        &urn,
			})
			return err
		}, nil)
		if err != nil {
			return err
		}
		guarded := pulumi.ResourceHooks(&pulumi.ResourceHookBinding{BeforeUpdate: []*pulumi.ResourceHook{guard}})

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
