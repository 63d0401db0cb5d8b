// Generates SDKs of a Pulumi package from its schema: sdkgen SCHEMA LANGUAGE FOLDER [LANGUAGE FOLDER…]
//
// What `pulumi package gen-sdk` does, without the language hosts that it asks, which the Go proxy does not serve.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	gogen "github.com/pulumi/pulumi/pkg/v3/codegen/go"
	"github.com/pulumi/pulumi/pkg/v3/codegen/nodejs"
	"github.com/pulumi/pulumi/pkg/v3/codegen/python"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
)

const tool = "sdkgen" // named in the head of each generated file

func main() {
	if len(os.Args) < 4 || len(os.Args)%2 != 0 {
		fail(fmt.Errorf("usage: sdkgen SCHEMA LANGUAGE FOLDER [LANGUAGE FOLDER…]"))
	}
	described, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	for pair := os.Args[2:]; len(pair) > 0; pair = pair[2:] {
		if err := generate(described, pair[0], pair[1]); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sdkgen:", err)
	os.Exit(1)
}

func generate(described []byte, language, folder string) error {
	var spec schema.PackageSpec
	if err := json.Unmarshal(described, &spec); err != nil {
		return err
	}
	// Bound anew for each language: a generator leaves its own marks in the package. The schema refers to no other.
	bound, problems, err := schema.BindSpec(spec, schema.NewNullLoader(), schema.ValidationOptions{})
	if err != nil {
		return err
	}
	if problems.HasErrors() {
		return problems
	}
	files, err := generated(bound, language)
	if err != nil {
		return err
	}
	for name, content := range files {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func generated(bound *schema.Package, language string) (map[string][]byte, error) {
	switch language {
	case "nodejs":
		// Local: it compiles itself where npm installs it from its folder.
		return nodejs.GeneratePackage(tool, bound, nil, nil, true, nil)
	case "python":
		return python.GeneratePackage(tool, bound, nil, nil)
	case "go":
		return gogen.GeneratePackage(tool, bound, nil)
	default:
		return nil, fmt.Errorf("no generator for %s", language)
	}
}
