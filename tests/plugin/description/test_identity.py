"""Who publishes the package: read from pyproject.toml, left out where it is not set, and no name that is somebody else's."""

import tomllib
from email.message import Message
from importlib.metadata import PackageMetadata, metadata
from pathlib import Path
from typing import cast

from pulumi_snapshots.plugin.description.identity import (
    CONFIGURATION,
    DISTRIBUTION,
    LOGO,
    NO_UPLOAD,
    Identity,
)
from pulumi_snapshots.plugin.description.schema import schema

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())[
    "project"
]
PUBLISHED = {
    "Author": "The Shop",
    "Project-URL: Repository": "https://github.com/Shop/pulumi-squarecloud/",
    "Project-URL: Documentation": "https://shop.invalid/docs/",
}


def identity(**fields: str) -> Identity:
    """Of a package whose metadata has these fields."""
    about = Message()
    about["Summary"] = "Snapshots."
    about["License-Expression"] = "Apache-2.0"
    for name, text in fields.items():
        field, _, label = name.partition(": ")
        about[field] = f"{label}, {text}" if label else text
    return Identity(cast("PackageMetadata", about))


def test_what_is_not_set_does_not_look_published() -> None:
    unset = identity()
    assert unset.in_schema() == {
        "description": "Snapshots.",
        "license": "Apache-2.0",
        "publisher": "the authors of pulumi-snapshots",
    }
    assert unset.languages() == {
        "nodejs": {"packageName": "pulumi-squarecloud"},
        "go": {
            # With a dot: else `pulumi package add` prints an import that is another one.
            "modulePath": "pulumi-squarecloud.invalid/sdk/go",
            "importBasePath": "pulumi-squarecloud.invalid/sdk/go/squarecloud",
        },
        "csharp": {
            "rootNamespace": "PulumiSnapshots",
            "namespaces": {"squarecloud": "SquareCloud"},
            "packageReferences": {"Pulumi": "3.*"},
        },
        "java": {"basePackage": "pulumisnapshots"},
    }


def test_a_publisher_is_named_by_repository_and_documentation() -> None:
    shop = identity(**PUBLISHED)
    assert shop.in_schema() == {
        "description": "Snapshots.",
        "license": "Apache-2.0",
        "publisher": "The Shop",
        "homepage": "https://shop.invalid/docs",
        "repository": "https://github.com/Shop/pulumi-squarecloud",
        "logoUrl": "https://shop.invalid/docs/_static/logo.png",
        "configurationDocsUrl": "https://shop.invalid/docs/settings.html",
        "pluginDownloadURL": "github://api.github.com/Shop/pulumi-squarecloud",
    }
    assert shop.languages()["go"] == {}, "generators make the path of the repository"
    assert shop.languages()["java"] == {"basePackage": "io.github.shop"}


def test_the_plugin_is_searched_for_among_releases_if_there_are_some() -> None:
    elsewhere = {
        "Project-URL: Repository": "https://codeberg.invalid/shop/pulumi-squarecloud"
    }
    for other in ({"Classifier": NO_UPLOAD}, elsewhere):
        assert "pluginDownloadURL" not in identity(**(PUBLISHED | other)).in_schema()


def test_pyproject_is_the_one_place() -> None:
    """What is installed here says the same: `make environment` brings it up to date."""
    about = metadata(DISTRIBUTION)
    urls = [f"{label}, {url}" for label, url in PROJECT["urls"].items()]
    assert (about.get_all("Project-URL") or []) == urls
    assert (NO_UPLOAD in (about.get_all("Classifier") or [])) is (
        NO_UPLOAD in PROJECT["classifiers"]
    )
    made = schema()
    assert (made["description"], made["version"]) == (
        PROJECT["description"],
        PROJECT["version"],
    )
    assert made["license"] == PROJECT["license"]
    assert made["publisher"] == Identity().in_schema()["publisher"]


def test_the_site_has_the_logo_and_the_page_that_the_schema_names() -> None:
    docs = Path(__file__).parents[3] / "docs"
    assert "<svg" in (docs / LOGO).read_text()
    assert (docs / LOGO).with_suffix(".png").read_bytes().startswith(b"\x89PNG"), (
        "for C#, which takes no SVG"
    )
    assert (docs / CONFIGURATION).with_suffix(".md").is_file()
