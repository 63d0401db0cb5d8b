"""Who publishes this package, where it is, and what its SDKs are called: from pyproject.toml, by the installed metadata.

What pyproject.toml does not say is left out, so that nothing looks published that is not, and no SDK has a name in a scope
that belongs to somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import metadata, version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata

DISTRIBUTION = "pulumi-snapshots"
VERSION = version(DISTRIBUTION)
NPM_NAME = "pulumi-squarecloud"
"""In no scope: `@pulumi` is Pulumi's, and another scope must be registered first."""
GO_WITHOUT_REPOSITORY = "pulumi-squarecloud.invalid/sdk/go"
"""A module of this machine: no domain can end like this. Without a dot, `pulumi package add` prints an import of another path."""
DOTNET_NAMESPACE = "PulumiSnapshots"
"""Packages that begin with `Pulumi.` are Pulumi's."""
DOTNET_NAME = "SquareCloud"
JAVA_PACKAGE = "pulumisnapshots"
NO_UPLOAD = "Private :: Do Not Upload"
"""The classifier by which an index refuses a package; it stands in pyproject.toml until the package may be published."""
GITHUB = "github.com"
LOGO = "_static/logo.svg"
"""In the site of the documentation."""
CONFIGURATION = "settings.html"


@dataclass(frozen=True)
class Identity:
    """What the installed package says of itself.

    Attributes:
        about: its metadata, which is made from pyproject.toml.
    """

    about: PackageMetadata

    @classmethod
    def of_this_package(cls) -> Identity:
        """This package's."""
        return cls(metadata(DISTRIBUTION))

    @property
    def publisher(self) -> str:
        """Who publishes it. Never empty: else C# names Pulumi's company."""
        return self._one("Author") or f"the authors of {DISTRIBUTION}"

    @property
    def is_published(self) -> bool:
        """Whether an index may take it."""
        return NO_UPLOAD not in (self.about.get_all("Classifier") or [])

    @cached_property
    def urls(self) -> dict[str, str]:
        """The `[project.urls]` by their labels in small letters, without a slash at the end."""
        pairs = (line.split(", ", 1) for line in self.about.get_all("Project-URL") or [])
        return {label.lower(): url.rstrip("/") for label, url in pairs}

    @property
    def repository(self) -> str | None:
        """The address of the repository."""
        return self.urls.get("repository")

    @property
    def documentation(self) -> str | None:
        """The address of the documentation's site."""
        return self.urls.get("documentation")

    @property
    def downloads(self) -> str | None:
        """The place that Pulumi downloads the plugin from: the releases of the repository, if it is on GitHub and the package is published."""
        host, path = self._place
        return f"github://api.{GITHUB}{path}" if self.is_published and host == GITHUB else None

    def in_schema(self) -> dict[str, Any]:
        """The schema's fields about the package as a whole; those that are not known are left out."""
        documentation = self.documentation
        known = {
            "description": self._one("Summary"),
            "license": self._one("License-Expression"),
            "publisher": self.publisher,
            "homepage": self.urls.get("homepage") or documentation or self.repository,
            "repository": self.repository,
            "logoUrl": documentation and f"{documentation}/{LOGO}",
            "configurationDocsUrl": documentation and f"{documentation}/{CONFIGURATION}",
            "pluginDownloadURL": self.downloads,
        }
        return {name: text for name, text in known.items() if text}

    def languages(self) -> dict[str, dict[str, Any]]:
        """What each language's SDK is called."""
        # Generators make a Go module's path of the repository by themselves; some of them heed nothing else.
        go = {"modulePath": GO_WITHOUT_REPOSITORY, "importBasePath": f"{GO_WITHOUT_REPOSITORY}/squarecloud"}
        return {
            "nodejs": {"packageName": NPM_NAME},
            "go": {} if self.repository else go,
            "csharp": {
                "rootNamespace": DOTNET_NAMESPACE,
                "namespaces": {PACKAGE: DOTNET_NAME},
                "packageReferences": {"Pulumi": "3.*"},
            },
            "java": {"basePackage": self._java},
        }

    def imports(self) -> dict[str, str]:
        """The line by which a program in each language imports the SDK; in YAML there is none, and a type names the package."""
        module = self.languages()["go"].get("importBasePath") or f"{''.join(self._place)}/sdk/go/{PACKAGE}"
        return {
            "typescript": f'import * as {PACKAGE} from "{NPM_NAME}";',
            "python": f"import pulumi_{PACKAGE} as {PACKAGE}",
            "go": f'import "{module}"',
            "csharp": f"using {DOTNET_NAMESPACE}.{DOTNET_NAME};",
            "java": f"import {self._java}.{PACKAGE}.*;",
            "yaml": f"type: {PACKAGE}:Snapshot",
        }

    def _one(self, field: str) -> str | None:
        return next(iter(self.about.get_all(field) or []), None)

    @property
    def _java(self) -> str:
        """By the rule of Maven Central, which grants `io.github.NAME` to the owner of that name."""
        host, path = self._place
        owner = path.strip("/").partition("/")[0].lower()
        return f"io.github.{owner}" if host == GITHUB and owner.isidentifier() else JAVA_PACKAGE

    @property
    def _place(self) -> tuple[str, str]:
        """Host and path of the repository."""
        parts = urlsplit(self.repository or "")
        return parts.netloc, parts.path.removesuffix(".git")
