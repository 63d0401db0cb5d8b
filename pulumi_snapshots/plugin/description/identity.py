"""The publisher of this package, its addresses, and the names of its SDKs.

All of them come from pyproject.toml.
"""

from importlib.metadata import PackageMetadata, metadata, version
from typing import Any
from urllib.parse import urlsplit

from pulumi_snapshots.run.settings import PACKAGE

DISTRIBUTION = "pulumi-snapshots"
PLUGIN_VERSION = version(DISTRIBUTION)
NPM_NAME = "pulumi-squarecloud"
"""In no scope: `@pulumi` is Pulumi's, and another scope must be registered first."""
GO_WITHOUT_REPOSITORY = "pulumi-squarecloud.invalid/sdk/go"
"""A module of this machine: no domain can end like this. Without a dot, `pulumi package add`
prints an import of another path.
"""
DOTNET_NAMESPACE = "PulumiSnapshots"
DOTNET_NAME = "SquareCloud"
"""Packages that begin with `Pulumi.` are Pulumi's."""
NO_UPLOAD = "Private :: Do Not Upload"
"""The classifier by which an index refuses a package; it stands in pyproject.toml until the
package may be published.
"""
GITHUB = "github.com"
# in the site of the documentation
LOGO = "_static/logo.svg"
LOGO_IN_REGISTRY = "_static/logo.png"  # a PNG, by the rules of Pulumi's registry
CONFIGURATION = "settings.html"


class Identity:
    """The publisher of a package, from the installed metadata or another package's."""

    def __init__(self, package: PackageMetadata | None = None) -> None:
        self._metadata = package or metadata(DISTRIBUTION)
        pairs = (line.split(", ", 1) for line in self._all("Project-URL"))
        self.urls = {label.lower(): url.rstrip("/") for label, url in pairs}
        self.documentation = self.urls.get("documentation")
        parts = urlsplit(self.urls.get("repository", ""))
        self._host = parts.netloc
        self._path = parts.path.removesuffix(".git")
        # Maven Central grants `io.github.NAME` to the owner of that name.
        owner, *_ = self._path.strip("/").lower().split("/")
        is_name = self._host == GITHUB and owner.isidentifier()
        self._java = f"io.github.{owner}" if is_name else DOTNET_NAMESPACE.lower()

    def in_schema(self) -> dict[str, Any]:
        """Return the schema's fields about the package as a whole.

        Fields that are not known are left out.
        """
        site = self.documentation
        repository = self.urls.get("repository")
        # Pulumi downloads the plugin from a repository's releases on GitHub.
        is_released = self._host == GITHUB and NO_UPLOAD not in self._all("Classifier")
        fields = {
            "description": "".join(self._all("Summary")),
            "license": "".join(self._all("License-Expression")),
            # Never empty: else C# names Pulumi's company.
            "publisher": "".join(
                self._all("Author") or [f"the authors of {DISTRIBUTION}"]
            ),
            "homepage": self.urls.get("homepage") or site or repository,
            "repository": repository,
            "logoUrl": site and f"{site}/{LOGO_IN_REGISTRY}",
            "configurationDocsUrl": site and f"{site}/{CONFIGURATION}",
            "pluginDownloadURL": is_released and f"github://api.{GITHUB}{self._path}",
        }
        return {name: text for name, text in fields.items() if text}

    def languages(self) -> dict[str, dict[str, Any]]:
        """Return the name of each language's SDK."""
        # Generators make a Go module's path of the repository by themselves, and some generators
        # heed nothing else.
        go = {
            "modulePath": GO_WITHOUT_REPOSITORY,
            "importBasePath": f"{GO_WITHOUT_REPOSITORY}/{PACKAGE}",
        }
        return {
            "nodejs": {"packageName": NPM_NAME},
            "go": {} if self._host else go,
            "csharp": {
                "rootNamespace": DOTNET_NAMESPACE,
                "namespaces": {PACKAGE: DOTNET_NAME},
                "packageReferences": {"Pulumi": "3.*"},
            },
            "java": {"basePackage": self._java},
        }

    def imports(self) -> dict[str, str]:
        """Return the line by which a program in each language imports the SDK.

        YAML has no such line: there, a type names the package.
        """
        module = (
            self.languages()["go"].get("importBasePath")
            or f"{self._host}{self._path}/sdk/go/{PACKAGE}"
        )
        return {
            "typescript": f'import * as {PACKAGE} from "{NPM_NAME}";',
            "python": f"import pulumi_{PACKAGE} as {PACKAGE}",
            "go": f'import "{module}"',
            "csharp": f"using {DOTNET_NAMESPACE}.{DOTNET_NAME};",
            "java": f"import {self._java}.{PACKAGE}.*;",
            "yaml": f"type: {PACKAGE}:Snapshot",
        }

    def _all(self, field: str) -> list[str]:
        return self._metadata.get_all(field) or []
