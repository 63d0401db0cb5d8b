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
		databaseID := settings.Require("databaseId")
		release := settings.Get("release")

		// A hook that lets an update happen only once there is a snapshot from before it, and one that notes the update, so that
		// the next one takes another. Deletes come after the program has ended, when Go's SDK makes no more calls.
		guard := func(name string, after bool) (*pulumi.ResourceHook, error) {
			return ctx.RegisterResourceHook(name, func(args *pulumi.ResourceHookArgs) error {
				change, urn := "update of "+args.Name, string(args.URN)
				_, err := squarecloud.TakeSnapshot(ctx, &squarecloud.TakeSnapshotArgs{
					DatabaseId: databaseID,
					Change:     &change,
					Urn:        &urn,
					After:      &after,
				})
				return err
			}, nil)
		}
		before, err := guard("guard before update", false)
		if err != nil {
			return err
		}
		after, err := guard("guard after update", true)
		if err != nil {
			return err
		}
		guarded := pulumi.ResourceHooks(&pulumi.ResourceHookBinding{
			BeforeUpdate: []*pulumi.ResourceHook{before},
			AfterUpdate:  []*pulumi.ResourceHook{after},
		})

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
