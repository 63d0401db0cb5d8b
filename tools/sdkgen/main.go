// Generates code in the place of Pulumi's language hosts: the Go proxy serves none that can.
//
// As `pulumi-language-LANGUAGE` it answers `pulumi package gen-sdk` and `pulumi convert` by Pulumi's own generators, of the engine's
// version. It runs no program.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	gogen "github.com/pulumi/pulumi/pkg/v3/codegen/go"
	"github.com/pulumi/pulumi/pkg/v3/codegen/nodejs"
	"github.com/pulumi/pulumi/pkg/v3/codegen/pcl"
	"github.com/pulumi/pulumi/pkg/v3/codegen/python"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

type host struct {
	rpc.UnimplementedLanguageRuntimeServer
	language string
}

func main() {
	_, language, _ := strings.Cut(filepath.Base(os.Args[0]), "pulumi-language-")
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Init: func(server *grpc.Server) error {
			rpc.RegisterLanguageRuntimeServer(server, &host{language: language})
			return nil
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(handle.Port)
	<-handle.Done
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*rpc.PluginInfo, error) {
	return &rpc.PluginInfo{}, nil
}

// Link would write the SDK into the project's package.json, go.mod or requirements.txt, and InstallDependencies fetch what these
// name, by the language's own tools.
func (h *host) Link(context.Context, *rpc.LinkRequest) (*rpc.LinkResponse, error) {
	return &rpc.LinkResponse{}, nil
}

func (h *host) InstallDependencies(
	*rpc.InstallDependenciesRequest, rpc.LanguageRuntime_InstallDependenciesServer,
) error {
	return nil
}

func (h *host) GeneratePackage(_ context.Context, request *rpc.GeneratePackageRequest) (*rpc.GeneratePackageResponse, error) {
	loader, err := schema.NewLoaderClient(request.LoaderTarget)
	if err != nil {
		return nil, err
	}
	var spec schema.PackageSpec
	if err := json.Unmarshal([]byte(request.Schema), &spec); err != nil {
		return nil, err
	}
	bound, problems, err := schema.BindSpec(spec, loader, schema.ValidationOptions{})
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		return nil, problems
	}
	files, err := h.sdk(bound, request, schema.NewCachedLoader(loader))
	if err != nil {
		return nil, err
	}
	for name, content := range files {
		file := filepath.Join(request.Directory, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return nil, err
		}
	}
	return &rpc.GeneratePackageResponse{}, nil
}

func (h *host) sdk(
	bound *schema.Package, request *rpc.GeneratePackageRequest, loader schema.ReferenceLoader,
) (map[string][]byte, error) {
	const tool = "sdkgen" // named in the head of each generated file
	switch h.language {
	case "nodejs":
		return nodejs.GeneratePackage(tool, bound, request.ExtraFiles, request.LocalDependencies, request.Local, loader)
	case "python":
		return python.GeneratePackage(tool, bound, request.ExtraFiles, loader)
	default:
		return gogen.GeneratePackage(tool, bound, request.LocalDependencies)
	}
}

func (h *host) GenerateProject(_ context.Context, request *rpc.GenerateProjectRequest) (*rpc.GenerateProjectResponse, error) {
	loader, err := schema.NewLoaderClient(request.LoaderTarget)
	if err != nil {
		return nil, err
	}
	options := pcl.NonStrictBindOptions()
	if request.Strict {
		options = nil
	}
	program, problems, err := pcl.BindDirectory(request.SourceDirectory, schema.NewCachedLoader(loader), options...)
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		return nil, problems
	}
	var project workspace.Project
	if err := json.Unmarshal([]byte(request.Project), &project); err != nil {
		return nil, err
	}
	into := request.TargetDirectory
	switch h.language {
	case "nodejs":
		err = nodejs.GenerateProject(into, project, program, request.LocalDependencies, false, "nodejs")
	case "python":
		err = python.GenerateProject(into, project, program, request.LocalDependencies, "", "")
	default:
		err = gogen.GenerateProject(into, project, program, request.LocalDependencies)
	}
	return &rpc.GenerateProjectResponse{}, err
}
