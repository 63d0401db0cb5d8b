module go-example

go 1.25

require (
	example.com/pulumi-squarecloud/sdk/go v0.1.0
	github.com/pulumi/pulumi/sdk/v3 v3.274.1
)

replace example.com/pulumi-squarecloud/sdk/go => ../../sdks/go
