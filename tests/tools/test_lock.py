"""The lock files: all that is needed is in them, by version and hash, and is what is installed."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import environment, lock

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text())
PROJECT_TABLE = SETTINGS["project"]
PIN = re.compile(r"^([\w.-]+)==(\S+?)(?: ; (.+?))? \\$", re.MULTILINE)


def pinned(name: str) -> dict[str, set[str]]:
    """The versions of each distribution; several if they depend on the Python or the system."""
    found: dict[str, set[str]] = {}
    for distribution, version, _ in PIN.findall((lock.LOCKS / name).read_text()):
        found.setdefault(canonicalize_name(distribution), set()).add(version)
    return found


def group(name: str) -> list[Requirement]:
    listed = SETTINGS["dependency-groups"][name]
    return [Requirement(each) for each in listed if isinstance(each, str)]


def wanted() -> list[Requirement]:
    extras = PROJECT_TABLE["optional-dependencies"].values()
    texts = [
        *PROJECT_TABLE["dependencies"],
        *(each for extra in extras for each in extra),
    ]
    others = [
        Requirement(each) for each in texts if not each.startswith("pulumi-snapshots[")
    ]
    build = [Requirement(each) for each in SETTINGS["build-system"]["requires"]]
    return [*others, *build, *group("dist"), *group("dev")]


def misfits(requirements: list[Requirement], name: str) -> list[str]:
    there = pinned(name)
    return [
        str(each)
        for each in requirements
        if not any(
            each.specifier.contains(version)
            for version in there.get(canonicalize_name(each.name), ())
        )
    ]


def test_the_lock_has_a_version_and_a_hash_for_all_that_is_needed() -> None:
    assert misfits(wanted(), "requirements.txt") == [], "run `make lock`"
    assert misfits(group("checks"), "requirements-checks.txt") == [], "run `make lock`"
    assert misfits([Requirement("anyio>=1000")], "requirements.txt"), (
        "the test notices a misfit"
    )
    for name in lock.REQUIREMENTS:
        entries = re.split(
            r"^(?=\S)", (lock.LOCKS / name).read_text(), flags=re.MULTILINE
        )[1:]
        assert len(entries) > 20
        for each in entries:
            assert PIN.match(each), each
            assert re.findall(r"--hash=sha256:[0-9a-f]{64}$", each, re.MULTILINE), each


@pytest.mark.parametrize("name", lock.NPM_LOCKS)
def test_npm_takes_what_the_example_asks_for_and_only_by_its_hash(
    name: str, tmp_path: Path
) -> None:
    packages = json.loads((lock.LOCKS / name).read_text())["packages"]
    assert (
        packages[""]["dependencies"] == lock.NPM_LOCKS[name](tmp_path)["dependencies"]
    )
    fetched = [
        each
        for path, each in packages.items()
        if path and not each.get("link") and path != "nothing"
    ]
    assert len(fetched) > 50
    assert [
        each for each in fetched if not each["integrity"].startswith("sha512-")
    ] == []


def test_each_go_module_has_its_hash() -> None:
    lines = lock.GO_SUMS.read_text().splitlines()
    assert lines == sorted(set(lines))
    assert [
        each for each in lines if not re.fullmatch(r"\S+ v\S+ h1:[\w+/]{43}=", each)
    ] == []
    for module in (
        "pulumi/pulumi/pkg/v3",
        "pulumi/pulumi-yaml",
        "FerretDB/FerretDB",
        "versity/versitygw",
        "rhysd/actionlint",
    ):
        assert any(each.startswith(f"github.com/{module} v") for each in lines), module


@pytest.mark.parametrize(
    "file", sorted(lock.LOCKS.iterdir()), ids=lambda file: file.name
)
def test_no_lock_file_names_an_address(file: Path) -> None:
    assert (
        re.findall(r"\w+://\S+|--(?:extra-)?index\S*|--find\S*", file.read_text()) == []
    )


def test_what_is_installed_is_what_is_locked() -> None:
    from importlib.metadata import distributions  # noqa: PLC0415  slow, and for this test alone

    there = pinned("requirements.txt")
    installed = {
        canonicalize_name(each.metadata["Name"]): each.version
        for each in distributions()
    }
    others = {
        name: version
        for name, version in installed.items()
        if version not in there.get(name, {version})
    }
    assert others == {}, "run `make environment`"
    assert default_environment()["python_version"] >= lock.OLDEST_PYTHON
    assert len(installed.keys() & there.keys()) > 100


def test_uv_itself_is_installed_by_its_hash() -> None:
    lines = environment.locked("uv").splitlines()
    assert lines[0].startswith("uv==")
    assert all(each.strip().startswith("--hash=sha256:") for each in lines[1:])
    assert environment.locked("no-such-distribution") == ""
