// A program is tested with Pulumi's mocks: no engine, no plugin, no key. Run with `go test`.
package main

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"pulumi-squarecloud.invalid/sdk/go/squarecloud"
)

const databaseID = "a14b8d5e1cb7405a851eb4c075506121"

type mocks struct{}

func (mocks) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	state := args.Inputs.Copy()
	state["versionId"] = resource.NewStringProperty("v9")
	return args.Name + "-id", state, nil
}

func (mocks) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return resource.NewPropertyMapFromMap(map[string]any{
		"snapshot": map[string]any{"databaseId": databaseID, "versionId": "v1", "name": "n", "available": true},
	}), nil
}

func TestARelease(t *testing.T) {
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		before, err := squarecloud.NewSnapshot(ctx, "before-release", &squarecloud.SnapshotArgs{
			DatabaseId: pulumi.String(databaseID),
		})
		if err != nil {
			return err
		}
		latest := squarecloud.GetLatestSnapshotOutput(ctx, squarecloud.GetLatestSnapshotOutputArgs{
			DatabaseId: before.DatabaseId,
		})
		pulumi.All(before.VersionId, latest.Snapshot().VersionId()).ApplyT(func(found []any) error {
			if found[0] != "v9" || found[1] != "v1" {
				t.Errorf("found %v", found)
			}
			return nil
		})
		return nil
	}, pulumi.WithMocks("project", "stack", mocks{}))
	if err != nil {
		t.Fatal(err)
	}
}
